"""Rules of a CreateTransformJob request that its shape does not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearsight.core.errors import BadValue
from clearsight_sagemaker.protocols.errors import validation_error
from clearsight_sagemaker.transform.data_processing import DataProcessing

_MOST_MEGABYTES = 100
_DEFAULT_MEGABYTES = 6


def checked_transform_request(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request with its defaults; raises ServiceError for one that cannot become a job here."""
    source, output = request["TransformInput"], request["TransformOutput"]
    kind = source["DataSource"].get("S3DataSource", {}).get("S3DataType")
    if kind not in ("S3Prefix", "ManifestFile"):
        found = kind or "no S3DataSource"
        raise validation_error(f"TransformInput has {found}. Allowed: an S3DataSource of S3Prefix or ManifestFile.")
    if source.get("SplitType") == "TFRecord":
        raise validation_error("SplitType TFRecord is not supported by the local service. Use None, Line or RecordIO.")
    megabytes, concurrent = request.get("MaxPayloadInMB", _DEFAULT_MEGABYTES), request.get("MaxConcurrentTransforms", 0)
    if megabytes > _MOST_MEGABYTES:
        raise validation_error(f"MaxPayloadInMB {megabytes} cannot be greater than {_MOST_MEGABYTES} MB.")
    if concurrent * max(1, megabytes) > _MOST_MEGABYTES:
        raise validation_error(
            f"MaxConcurrentTransforms {concurrent} times MaxPayloadInMB {megabytes} cannot exceed {_MOST_MEGABYTES} MB."
        )
    if concurrent > 1 and not megabytes:
        raise validation_error("With MaxPayloadInMB 0, MaxConcurrentTransforms must be 1.")
    checked = {
        **request,
        "TransformInput": {"CompressionType": "None", "SplitType": "None", **source},
        "TransformOutput": {"AssembleWith": "None", "KmsKeyId": "", **output},
        "DataProcessing": {
            "InputFilter": "$", "OutputFilter": "$", "JoinSource": "None", **request.get("DataProcessing", {}),
        },
    }  # fmt: skip
    try:
        DataProcessing.of(checked)
    except BadValue as error:
        raise validation_error(str(error)) from None
    return checked
