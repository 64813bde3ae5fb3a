"""Processes that outlive the command that starts them: one supervisor per home starts, watches and restarts them."""
