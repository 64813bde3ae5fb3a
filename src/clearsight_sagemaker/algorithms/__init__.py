"""Algorithms that SageMaker has built in: trained here by clearsight, with their hyperparameters and formats."""
