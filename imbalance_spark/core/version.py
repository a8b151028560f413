"""The version of this package, which every logged run and step names."""

__version__ = "0.1.0"
