"""Experiments: experiments, trials and trial components, those of jobs too, and the metrics of runs."""
