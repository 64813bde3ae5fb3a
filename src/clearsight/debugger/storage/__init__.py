"""Storage: records in memory and on disk, and the runs that are read back."""
