"""Calls of boto3 on an S3, with results that can be compared: `python s3_calls.py` carries them out on moto's.

A call is (operation, parameters) as JSON, a line of standard input; its result is a line of standard output. Ids of
uploads and tokens of pages differ between services: a call names an upload by its number, and all pages are read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

# What a result has in every S3; dates, owners and checksums are left out.
_COMPARED: dict[str, tuple[str, ...]] = {
    "put_object": ("ETag",),
    "get_object": (
        *("ContentLength", "ETag", "ContentType", "Metadata", "ContentRange", "TagCount"),
        "ContentEncoding",
    ),
    "head_object": (*("ContentLength", "ETag", "ContentType", "Metadata", "TagCount"), "ContentEncoding"),
    "copy_object": (),
    "delete_objects": ("Deleted", "Errors"),
    "get_object_tagging": ("TagSet",),
    "upload_part": ("ETag",),
    "complete_multipart_upload": ("ETag", "Bucket", "Key"),
}


class S3Calls:
    """Calls on one client."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._uploads: list[str] = []

    def result(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return what a call ends with: its status, and its result or the code of its error."""
        try:
            return getattr(self, f"_{operation}", self._plain)(operation, self._prepared(parameters))  # type: ignore[no-any-return]
        except ClientError as error:
            answer = error.response
            return {"status": answer["ResponseMetadata"]["HTTPStatusCode"], "code": answer["Error"]["Code"]}

    def _prepared(self, parameters: dict[str, Any]) -> dict[str, Any]:
        values = dict(parameters)
        if "Body" in values:
            text, count = values["Body"]
            values["Body"] = text.encode() * count
        if "UploadId" in values:
            number = values["UploadId"]
            values["UploadId"] = self._uploads[number] if number < len(self._uploads) else "no-such-upload"
        return values

    def _plain(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        answer = getattr(self._client, operation)(**parameters)
        result = {"status": answer["ResponseMetadata"]["HTTPStatusCode"]}
        result |= {name: answer[name] for name in _COMPARED.get(operation, ()) if name in answer}
        if operation == "get_object":
            result["Body"] = answer["Body"].read().decode("latin-1")
        if operation == "copy_object":
            result["ETag"] = answer["CopyObjectResult"]["ETag"]
        for name in ("Deleted", "TagSet"):
            if name in result:
                result[name] = sorted(json.dumps(item, sort_keys=True) for item in result[name])
        return result

    def _create_multipart_upload(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        answer = self._client.create_multipart_upload(**parameters)
        self._uploads.append(answer["UploadId"])
        return {"Bucket": answer["Bucket"], "Key": answer["Key"]}

    def _upload_part_copy(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        return {"ETag": self._client.upload_part_copy(**parameters)["CopyPartResult"]["ETag"]}

    def _list_parts(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        pages = []
        marker: dict[str, Any] = {}
        while True:
            answer = self._client.list_parts(**parameters, **marker)
            pages.append([[part["PartNumber"], part["Size"], part["ETag"]] for part in answer.get("Parts", [])])
            if not answer["IsTruncated"]:
                return {"pages": pages}
            marker = {"PartNumberMarker": answer["NextPartNumberMarker"]}

    def _list_multipart_uploads(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        answer = self._client.list_multipart_uploads(**parameters)
        return {"keys": sorted(upload["Key"] for upload in answer.get("Uploads", []))}

    def _list_buckets(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        prefix = parameters["prefix"]
        names = [bucket["Name"] for bucket in self._client.list_buckets()["Buckets"]]
        return {"names": sorted(name for name in names if name.startswith(prefix))}

    def _list_objects(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        return {"pages": list(self._pages(self._client.list_objects, parameters, "Marker", "NextMarker"))}

    def _list_objects_v2(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        token, following = "ContinuationToken", "NextContinuationToken"
        return {"pages": list(self._pages(self._client.list_objects_v2, parameters, token, following))}

    def _pages(self, call: Any, parameters: dict[str, Any], token: str, following: str) -> Iterator[dict[str, Any]]:
        values, last = dict(parameters), None
        while True:
            answer = call(**values)
            found = [[item["Key"], item["Size"], item["ETag"]] for item in answer.get("Contents", [])]
            prefixes = [item["Prefix"] for item in answer.get("CommonPrefixes", [])]
            page = {"objects": found, "prefixes": prefixes}
            yield page
            if not answer["IsTruncated"] or page == last:
                return
            last = page
            values[token] = answer.get(following) or found[-1][0]


def main() -> None:
    import boto3
    from moto import mock_aws

    with mock_aws():
        calls = S3Calls(boto3.client("s3", region_name="us-east-1"))
        for line in sys.stdin:
            operation, parameters = json.loads(line)
            try:
                print(json.dumps(calls.result(operation, parameters)), flush=True)
            except (AttributeError, KeyError, TypeError) as error:  # inside of moto, which runs in this process
                print(json.dumps({"status": 500, "code": repr(error)}), flush=True)


if __name__ == "__main__":
    main()
