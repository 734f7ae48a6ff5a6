"""One training run: configuration, loop, checkpoints, record."""
