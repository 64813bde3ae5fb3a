"""Models with code of their own (inference.py with model_fn, ...), each in a process beside the endpoint's worker."""
