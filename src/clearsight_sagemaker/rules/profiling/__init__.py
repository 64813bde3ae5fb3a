"""Profiler rules of a job: its metrics as a profile, the verdicts of SageMaker's rules on it, and their report."""
