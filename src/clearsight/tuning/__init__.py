"""Tuning: searchers, pruning, the record of a study, what carries its trials out. Knows Optuna; no torch, no data."""
