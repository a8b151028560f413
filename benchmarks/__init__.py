"""Claims about speed and leaks, each against a peer measured in the same run."""
