"""Keys as file names: a key that can be a path is one, all others lie under a digest of theirs."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath

from clearsight_sagemaker.s3.errors import S3Error

PRIVATE = ".clearsight-s3"  # folder in a bucket for what has no name of its own
_MOST_KEY, _MOST_NAME, _MOST_PATH = 1024, 255, 3000  # bytes
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def check_bucket(name: str) -> str:
    """Return a name that a bucket may have; raises S3Error."""
    if not _BUCKET.fullmatch(name) or ".." in name:
        raise S3Error("InvalidBucketName", "The specified bucket is not valid.", name)
    return name


def check_key(key: str) -> str:
    """Return a key that an object may have; raises S3Error."""
    if not key:
        raise S3Error("InvalidRequest", "A key is missing.")
    if len(key.encode()) > _MOST_KEY:
        raise S3Error("KeyTooLongError", "Your key is too long", key[:100])
    return key


def plain_path(key: str) -> str:
    """Return the path of a key below its bucket; "" for a key that cannot be one on every system."""
    parts = key.split("/")
    strange = any(
        part in ("", ".", "..") or "\0" in part or len(part.encode()) > _MOST_NAME or part != part.rstrip(". ")
        for part in parts
    )
    return "" if strange or parts[0] == PRIVATE or len(key.encode()) > _MOST_PATH else str(PurePosixPath(key))


def hidden_path(key: str) -> str:
    """Return the path for any key, in the private folder of its bucket."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f"{PRIVATE}/keys/{digest[:2]}/{digest}"
