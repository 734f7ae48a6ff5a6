"""Decoding, alignment, packed shards, pair sampling, labels."""
