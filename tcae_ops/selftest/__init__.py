"""Whether the operators work on this machine, and how fast: ``python -m tcae_ops.selftest``."""
