"""Analysis of profiler-output in notebooks."""
