"""Home, account and resources of the service, which outlive it."""
