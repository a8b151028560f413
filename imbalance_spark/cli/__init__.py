"""Command lines: arguments, exit codes, the doctor."""
