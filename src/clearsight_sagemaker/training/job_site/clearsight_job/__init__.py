"""Hooks that a job's Python has: for devices that are missing, and for pretrained weights."""
