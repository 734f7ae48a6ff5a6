"""Linear probe, metrics and folds."""
