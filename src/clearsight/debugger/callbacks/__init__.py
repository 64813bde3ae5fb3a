"""Callbacks of other trainers that own a Hook, one file each. Nothing here imports their packages before it is used."""
