"""Profiler: gauges of the machine, phases of training steps, traces, and rules that say what to change."""
