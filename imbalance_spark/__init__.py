"""The whole practice of class imbalance on Spark: split, sample, weigh, train, correct, choose."""

__version__ = "0.1.0"
