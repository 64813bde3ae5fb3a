"""Endpoints of a service in the process of the test: models from archives, requests, waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.sagemaker.hosting.model_folder import IMAGE, archive
from tests.sagemaker.local_service import LocalService

SCOPE = "AWS4-HMAC-SHA256 Credential=AK/20261120/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=x"
ROLE = "arn:aws:iam::111122223333:role/service-role/Trainer"
SECONDS = 120.0
JSON = "application/json"


class Hosted:
    """Models and endpoints of a service."""

    def __init__(self, service: LocalService) -> None:
        self.service = service
        self._objects = {"Authorization": SCOPE.format("s3")}
        service.client.put("/models", headers=self._objects)

    def put(self, key: str, body: bytes, content_type: str = "binary/octet-stream") -> str:
        """Make an object and return its address."""
        headers = {**self._objects, "Content-Type": content_type}
        assert self.service.client.put(f"/models/{key}", content=body, headers=headers).status_code == 200
        return f"s3://models/{key}"

    def get(self, address: str) -> bytes | None:
        """Return an object, None where there is none."""
        response = self.service.client.get(address.removeprefix("s3:/"), headers=self._objects)
        return response.content if response.status_code == 200 else None

    def content_type(self, address: str) -> str:
        """Return the content type of an object."""
        response = self.service.client.head(address.removeprefix("s3:/"), headers=self._objects)
        return str(response.headers["content-type"])

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of objects."""
        response = self.service.client.get(f"/models?prefix={prefix}", headers=self._objects)
        return [part.partition("</Key>")[0] for part in response.text.split("<Key>")[1:]]

    def model(self, name: str, files: Mapping[str, str | bytes], **environment: str) -> None:
        """Create a model of files."""
        container = {"Image": IMAGE, "ModelDataUrl": self.put(f"{name}.tar.gz", archive(files))}
        container["Environment"] = {"SAGEMAKER_PROGRAM": "inference.py", **environment}  # type: ignore[assignment]
        self.service.call("CreateModel", ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)

    def config(self, name: str, *variants: Mapping[str, Any], **members: Any) -> None:
        """Create a configuration. variants: their members beside the defaults."""
        defaults = {"InitialInstanceCount": 1, "InstanceType": "ml.m5.large", "InitialVariantWeight": 1}
        production = [{"VariantName": "AllTraffic", **defaults, **variant} for variant in variants]
        self.service.call("CreateEndpointConfig", EndpointConfigName=name, ProductionVariants=production, **members)

    def endpoint(self, name: str, config: str) -> dict[str, Any]:
        """Create an endpoint and return its description once it is settled."""
        self.service.call("CreateEndpoint", EndpointName=name, EndpointConfigName=config)
        return self.settled(name)

    def settled(self, name: str) -> dict[str, Any]:
        """Return the description of an endpoint that changes no more."""
        return self.until(
            lambda: self.service.call("DescribeEndpoint", EndpointName=name),
            lambda found: found["EndpointStatus"] not in ("Creating", "Updating"),
        )

    def delete(self, name: str) -> None:
        """Delete an endpoint and wait until it is gone."""
        self.service.call("DeleteEndpoint", EndpointName=name)
        self.until(lambda: self.service.send("DescribeEndpoint", EndpointName=name), lambda found: found.is_error)

    def delete_all(self) -> None:
        """Delete all endpoints: their processes outlive the service."""
        names = [found["EndpointName"] for found in self.service.call("ListEndpoints", MaxResults=100)["Endpoints"]]
        for name in names:
            self.settled(name)
            self.service.call("DeleteEndpoint", EndpointName=name)
        self.until(lambda: self.service.call("ListEndpoints")["Endpoints"], lambda found: not found)

    def invoke(self, name: str, body: bytes, kind: str = "invocations", **headers: str) -> Any:
        """Return the response to an invocation. headers: with _ for -."""
        plain = {key.replace("_", "-"): value for key, value in headers.items()}
        return self.service.client.post(
            f"/endpoints/{name}/{kind}",
            content=body,
            headers={"Authorization": SCOPE.format("sagemaker"), "Content-Type": JSON, **plain},
        )

    @staticmethod
    def until(read: Callable[[], Any], is_done: Callable[[Any], bool]) -> Any:
        """Return what is read once it is as it should be."""
        end = time.monotonic() + SECONDS
        while not is_done(found := read()):
            assert time.monotonic() < end, f"it is still {found}"
            time.sleep(0.02)
        return found
