"""The service: one ASGI application for all services, and the process that serves it."""
