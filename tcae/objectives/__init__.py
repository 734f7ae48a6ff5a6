"""Per-sample losses of the twin cycle, and the curriculum that picks who learns."""
