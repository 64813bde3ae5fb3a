"""Hosting of models: the files of a model, its processes, and a server that answers as SageMaker's containers do.

`python -m clearsight_sagemaker.hosting FOLDER` serves the model of a folder on loopback; `model_server` does so in the
process that calls it.
"""
