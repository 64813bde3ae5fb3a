"""Hyperparameter tuning jobs: ranges, training jobs that try values, and the thread that runs them."""
