"""Training loops as other people write them, with planted faults, to measure how well a two-line hook names causes."""
