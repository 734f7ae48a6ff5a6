"""Files: written whole or not at all, plain values, weights."""
