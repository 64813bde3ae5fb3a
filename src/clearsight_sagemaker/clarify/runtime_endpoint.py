"""RuntimeEndpoint: an endpoint of the service as a server of a model, and models of the service, through its APIs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clearsight.core.errors import missing_extra
from clearsight_sagemaker.training.failure import client_error
from clearsight_sagemaker.training.job_folder import ServiceSettings

_RETRIES = 5  # while the service starts again


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointResponse:
    """Response of an endpoint. status: of HTTP, that of the model's server where it failed."""

    status: int
    body: bytes
    content_type: str


class RuntimeEndpoint:
    """Endpoint of the service that started the job."""

    def __init__(self, name: str, service: ServiceSettings) -> None:
        try:
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError:
            raise missing_extra("boto3", "sagemaker", "endpoint_name") from None
        self._refused, self._failed, self._name = ClientError, BotoCoreError, name
        self._client = _service_client("sagemaker-runtime", service)

    def invoke(self, body: bytes, content_type: str, accept: str, timeout: float, /) -> EndpointResponse:
        """Return the response of the endpoint. timeout: the service has its own, and this one is not used.

        Raises JobFailed where there is no such endpoint, or no response.
        """
        try:
            found = self._client.invoke_endpoint(
                EndpointName=self._name, Body=body, ContentType=content_type, Accept=accept
            )
        except self._refused as error:
            response = error.response
            if response.get("Error", {}).get("Code") != "ModelError":
                raise client_error(f"endpoint {self._name}: {response.get('Error', {}).get('Message')}") from None
            text = str(response.get("OriginalMessage") or response["Error"].get("Message", ""))
            status = int(response.get("OriginalStatusCode") or 500)
            return EndpointResponse(status=status, body=text.encode(), content_type="text/plain")
        except self._failed as error:
            raise client_error(f"endpoint {self._name}: {error}") from None
        return EndpointResponse(status=200, body=found["Body"].read(), content_type=found["ContentType"])


def describe_model(name: str, service: ServiceSettings) -> dict[str, Any]:
    """Return PrimaryContainer and EnableNetworkIsolation of a model of the service. Raises JobFailed without it."""
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise missing_extra("boto3", "sagemaker", "model_name") from None
    try:
        model = _service_client("sagemaker", service).describe_model(ModelName=name)
    except ClientError as error:
        raise client_error(f"model {name}: {error.response.get('Error', {}).get('Message')}") from None
    except BotoCoreError as error:
        raise client_error(f"model {name}: {error}") from None
    container = model.get("PrimaryContainer") or model["Containers"][0]
    return {"PrimaryContainer": container, "EnableNetworkIsolation": model.get("EnableNetworkIsolation", False)}


def _service_client(name: str, service: ServiceSettings) -> Any:
    """Return a client of boto3 for the service that started the job. Raises ClearsightError without boto3."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise missing_extra("boto3", "sagemaker", name) from None
    return boto3.client(
        name,
        endpoint_url=service.endpoint_url,
        region_name=service.region,
        aws_access_key_id=service.access_key,
        aws_secret_access_key=service.secret_key,
        config=Config(retries={"max_attempts": _RETRIES, "mode": "standard"}),
    )
