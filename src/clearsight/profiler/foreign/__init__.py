"""Loops that are not ours: what PyTorch does in them is seen from outside, without a change to the script."""
