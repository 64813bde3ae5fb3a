"""Processes of a job: their view of the machine, their end, and what the machine does meanwhile."""
