"""Protocols of AWS: the service of a request, its parameters, its signature, and the form of results and errors."""
