"""Values of the page of a bucket: the folders and objects under a prefix."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from clearsight_sagemaker.s3.listing import list_page
from clearsight_sagemaker.s3.store import ObjectStore

_MOST = 200  # folders and objects on a page


def bucket_page(store: ObjectStore, bucket: str, prefix: str, after: str) -> dict[str, Any]:
    """Return what the template of a bucket shows; raises S3Error where there is no such bucket."""
    page = list_page(store, bucket, prefix=prefix, delimiter="/", after=after, limit=_MOST)
    parts = prefix.split("/")
    return {
        "bucket": bucket,
        "prefix": prefix,
        "parents": [(part, "/".join(parts[: place + 1]) + "/") for place, part in enumerate(parts[:-1])],
        "folders": [(name.removeprefix(prefix), name) for name in page.prefixes],
        "objects": [
            {
                "name": stored.key.removeprefix(prefix) or stored.key,
                "address": f"/{bucket}/{quote(stored.key)}",
                "size": stored.size,
                "modified": stored.modified,
            }
            for stored in page.objects
        ],
        "after": page.last,
        "is_live": False,
    }
