"""Search for XGBoost's parameters: spaces, trials and which of them go on; see `comparison.search` for the fits."""
