"""Datasets: readers, decoding, geometry, augmentation, loader, scan, audit. Called, it is the check of a dataset."""

from clearsight.core.registry import make_callable

make_callable(__name__, "clearsight.api.inspection:data")
