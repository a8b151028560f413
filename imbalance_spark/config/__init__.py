"""A run as its YAML describes it: read, checked, documented."""
