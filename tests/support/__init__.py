"""What several tests build on: small data, servers, clusters, shared checks."""
