"""Endpoints: their model servers, the requests to them, and what is recorded of both."""
