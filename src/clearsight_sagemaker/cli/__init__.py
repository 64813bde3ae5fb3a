"""Command line of the local service: `clearsight sagemaker ...` and `python -m clearsight_sagemaker ...`."""
