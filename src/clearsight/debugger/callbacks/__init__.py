"""The hook as a callback of other people's trainers, one file each. Nothing here imports their packages."""
