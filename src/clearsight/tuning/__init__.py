"""Tuning: searchers, pruners, the record of a study, and the executors of its trials. On Optuna; no torch, no data."""
