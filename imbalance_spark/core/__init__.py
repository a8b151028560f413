"""What every room builds on: errors, column names, hashing, arrays, the Spark session, runs and their lock."""
