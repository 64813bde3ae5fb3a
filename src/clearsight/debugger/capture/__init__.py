"""Capture: records of a model under training. Knows no files and no rules."""
