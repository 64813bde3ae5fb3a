"""Values of the page of a bucket, and the addresses of such pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from clearsight_sagemaker.s3.listing import list_page
from clearsight_sagemaker.s3.store import ObjectStore

_MOST = 200  # folders and objects on a page


def bucket_values(store: ObjectStore, bucket: str, prefix: str, after: str) -> dict[str, Any]:
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


def page_of(address: str) -> str:
    """Return the page of the folder that an S3 address is in, "" for another kind of address."""
    if not address.startswith("s3://"):
        return ""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    folder = key if key.endswith("/") or not key else key.rpartition("/")[0] + "/"
    return f"/_clearsight/buckets/{bucket}?prefix={quote(folder.lstrip('/'))}"
