"""The training loop, checkpoints, the logbook, and what every command shares."""
