"""Models on rows: the one scan of held-out rows, bundles, and the scoring of new orders."""
