"""Where the time goes: gauges of the machine, spans of the training step, traces, and rules that say what to change."""
