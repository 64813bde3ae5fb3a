"""Dataset formats, one file each, in the order in which they are tried: unmistakable formats first, folders last."""

from __future__ import annotations

from clearsight.core.dataset import Reader
from clearsight.core.registry import Registry

READERS: Registry[Reader] = Registry(
    "dataset format",
    {
        "cifar": "clearsight.data.readers.cifar:READER",
        "hdf5-table": "clearsight.data.readers.hdf5_table:READER",
        "hdf5-arrays": "clearsight.data.readers.hdf5_arrays:READER",
        "archive": "clearsight.data.readers.archive:READER",
        "manifest": "clearsight.data.readers.manifest:READER",
        "lst": "clearsight.data.readers.lst:READER",
        "table": "clearsight.data.readers.table:READER",
        "folders": "clearsight.data.readers.folders:READER",
    },
    group="clearsight.readers",
)
