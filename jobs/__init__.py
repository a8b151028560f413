"""Command-line jobs: arguments, config, read, call, write; all logic is in `imbalance_spark`."""
