"""Tables of profiler-output."""
