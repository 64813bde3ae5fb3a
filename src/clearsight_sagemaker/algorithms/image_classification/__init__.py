"""The built-in image-classification algorithm, with the training of clearsight.

`python -m clearsight_sagemaker.algorithms.image_classification` is the program of its training jobs.
"""
