"""Training, tuning and endpoints at a place that is not this machine: `--on PLACE`."""
