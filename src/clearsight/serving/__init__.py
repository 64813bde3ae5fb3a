"""Serving: a bundle answers over HTTP, in a process that never imports torch."""
