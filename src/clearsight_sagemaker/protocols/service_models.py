"""Descriptions of AWS's services as botocore ships them: operations, shapes, and which requests belong to which."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from clearsight.core.errors import missing_extra
from clearsight_sagemaker.protocols.errors import ServiceError


@dataclass(frozen=True, kw_only=True)
class AwsService:
    """A service. name: of botocore.  scope: in the scope of a signature.  target: before the dot of X-Amz-Target.

    version: of the query protocol, "" where the service does not speak it.  paths: of REST-JSON, each an operation's.
    """

    name: str
    scope: str
    target: str = ""
    version: str = ""
    paths: tuple[str, ...] = ()


SERVICES = (
    AwsService(name="sagemaker", scope="sagemaker", target="SageMaker"),
    AwsService(name="sagemaker-metrics", scope="sagemaker-metrics", paths=("/BatchPutMetrics", "/BatchGetMetrics")),
    AwsService(name="logs", scope="logs", target="Logs_20140328"),
    AwsService(name="application-autoscaling", scope="application-autoscaling", target="AnyScaleFrontendService"),
    AwsService(name="cloudwatch", scope="monitoring", target="GraniteServiceVersion20100801", version="2010-08-01"),
    AwsService(name="sts", scope="sts", version="2011-06-15"),
    AwsService(name="iam", scope="iam", version="2010-05-08"),
    AwsService(name="sns", scope="sns", version="2010-03-31"),
)


@cache
def service_model(name: str) -> Any:
    """Return botocore's model of a service; raises MissingExtra where botocore is not installed."""
    try:
        from botocore.loaders import Loader
        from botocore.model import ServiceModel
    except ImportError:
        raise missing_extra("botocore", "sagemaker", "clearsight sagemaker") from None
    return ServiceModel(Loader().load_service_model(name, "service-2"), name)


def operation_model(service: AwsService, operation: str) -> Any:
    """Return the model of an operation; raises ServiceError for one that the service does not have."""
    model = service_model(service.name)
    if operation not in model.operation_names:
        text = f"{model.metadata['serviceId']} has no operation {operation[:100]!r}."
        raise ServiceError("UnknownOperationException", text)
    return model.operation_model(operation)


def not_available(service: AwsService, operation: str) -> ServiceError:
    """Return the error for an operation of AWS that this service does not have."""
    text = (
        f"{operation} is an operation of {service_model(service.name).metadata['serviceId']} that the local service"
        " does not have."
    )
    return ServiceError("UnknownOperationException", text)
