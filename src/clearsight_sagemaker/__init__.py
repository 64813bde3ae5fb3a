"""Results of clearsight in the formats that users of Amazon SageMaker and their notebooks read.

The package builds on `core`, `jobs`, `serving` and `workflow` of clearsight; nothing in `clearsight` imports it.
"""
