"""A rendered world of talking heads whose action units, pose and flow are known."""
