"""The debugger: hooks record a training, a store saves the records, rules judge them, and actions follow."""
