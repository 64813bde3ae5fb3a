"""Results of clearsight in the formats that users of Amazon SageMaker and their notebooks read.

The package builds on `clearsight.core` and `clearsight.workflow`; nothing in `clearsight` imports it.
"""
