"""What `make` calls to build, list and check what is shipped; none of it is part of the package."""
