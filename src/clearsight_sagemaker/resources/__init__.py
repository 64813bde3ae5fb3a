"""Resources of SageMaker: one module for each kind of thing, with the operations on it."""
