"""Per-sample losses of the twin cycle, one file each, and the curriculum that picks who learns.

A new loss term has a file of its own here, a field marked with `LossWeight` in objective_config.py,
and its call in twin_cycle.py.
"""
