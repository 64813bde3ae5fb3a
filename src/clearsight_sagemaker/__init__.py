"""The outbuilding: results of clearsight in the shapes that Amazon SageMaker's users and their notebooks know.

It stands beside the package and builds on its workflow; nothing in `clearsight` knows of it.
"""
