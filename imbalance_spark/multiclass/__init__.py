"""The main job for three classes and more: what differs from two."""
