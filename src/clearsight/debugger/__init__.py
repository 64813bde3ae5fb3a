"""The debugger: hooks that watch a model train, a store of what they saw, and rules that see, explain and act."""
