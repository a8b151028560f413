"""Strategies: what is done against the imbalance, and how its scores map back."""
