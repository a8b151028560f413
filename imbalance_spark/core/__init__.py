"""What every room stands on: errors, column names, hashing, the session, the run's folder and its lock."""
