"""Client programs: the variables, the SDK configuration and the import hook with which they reach the service."""
