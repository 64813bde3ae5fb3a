"""Errors of S3: a code that clients know, a status and a sentence."""

from __future__ import annotations

STATUSES = {
    "AccessDenied": 403,
    "BadDigest": 400,
    "BucketAlreadyOwnedByYou": 409,
    "BucketNotEmpty": 409,
    "EntityTooLarge": 400,
    "EntityTooSmall": 400,
    "IncompleteBody": 400,
    "InternalError": 500,
    "InvalidArgument": 400,
    "InvalidBucketName": 400,
    "InvalidDigest": 400,
    "InvalidPart": 400,
    "InvalidPartOrder": 400,
    "InvalidRange": 416,
    "InvalidRequest": 400,
    "KeyTooLongError": 400,
    "MalformedXML": 400,
    "MethodNotAllowed": 405,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NoSuchTagSet": 404,
    "NoSuchUpload": 404,
    "NoSuchWebsiteConfiguration": 404,
    "NotImplemented": 501,
    "PreconditionFailed": 412,
    "SignatureDoesNotMatch": 403,
    "XAmzContentChecksumMismatch": 400,
}


class S3Error(Exception):
    """Raised for a request that S3 refuses. resource: the bucket or object, as the error says it."""

    def __init__(self, code: str, message: str, resource: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.resource = code, message, resource

    @property
    def status(self) -> int:
        """Return the HTTP status of the code."""
        return STATUSES[self.code]


def no_such_bucket(bucket: str) -> S3Error:
    return S3Error("NoSuchBucket", "The specified bucket does not exist", bucket)


def no_such_key(key: str) -> S3Error:
    return S3Error("NoSuchKey", "The specified key does not exist.", key)


def no_such_upload(upload: str) -> S3Error:
    text = "The specified upload does not exist. The upload ID may be invalid, or the upload was aborted or completed."
    return S3Error("NoSuchUpload", text, upload)
