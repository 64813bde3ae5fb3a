"""ContainerDefinition: what a model server needs of a model's container in CreateModel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clearsight.core.errors import BadValue

_START_SECONDS = 240.0  # for a model to load, unless the endpoint configuration says otherwise
_ANSWER_SECONDS = 60.0
_MOST_WORKERS = 64
_PROGRAM = "inference.py"
_CODE = "/opt/ml/model/code"


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerDefinition:
    """A container of a model.

    data: s3:// address of its archive, or of a folder of files where `is_folder`; "" for none.
    environment: variables of the container.  instance: type of the instance, "" for none.
    start_seconds: for the model to load.  no_network: True for loopback alone.
    """

    image: str
    data: str = ""
    is_folder: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    instance: str = ""
    start_seconds: float = _START_SECONDS
    no_network: bool = False

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> ContainerDefinition:
        """Return the container of request.json of a model folder.

        It has PrimaryContainer as CreateModel does, and may have EnableNetworkIsolation, InstanceType, and
        ContainerStartupHealthCheckTimeoutInSeconds. Raises BadValue for data that is nowhere.
        """
        container = request["PrimaryContainer"]
        source = (container.get("ModelDataSource") or {}).get("S3DataSource") or {}
        data = container.get("ModelDataUrl") or source.get("S3Uri") or ""
        if data and not data.startswith("s3://"):
            raise BadValue(f"ModelDataUrl {data}", "must be an address s3://BUCKET/KEY")
        return cls(
            image=container.get("Image") or "",
            data=data,
            is_folder=source.get("CompressionType") == "None" and not container.get("ModelDataUrl"),
            environment={name: str(value) for name, value in (container.get("Environment") or {}).items()},
            instance=request.get("InstanceType") or "",
            start_seconds=float(request.get("ContainerStartupHealthCheckTimeoutInSeconds") or _START_SECONDS),
            no_network=bool(request.get("EnableNetworkIsolation")),
        )

    @property
    def workers(self) -> int:
        """Processes of the model."""
        names = ("SAGEMAKER_MODEL_SERVER_WORKERS", "SAGEMAKER_TS_MIN_WORKERS")
        return int(min(_MOST_WORKERS, max(1.0, self._number(names, 1.0))))

    @property
    def answer_seconds(self) -> float:
        """Longest time of a request."""
        names = ("SAGEMAKER_TS_RESPONSE_TIMEOUT", "TS_DEFAULT_RESPONSE_TIMEOUT", "SAGEMAKER_MODEL_SERVER_TIMEOUT")
        return self._number(names, _ANSWER_SECONDS) or _ANSWER_SECONDS

    @property
    def program(self) -> str:
        """File with the handler functions, in the folder of the code."""
        return self.environment.get("SAGEMAKER_PROGRAM") or _PROGRAM

    @property
    def submit_directory(self) -> str:
        """Folder of the code as the container sees it, or the s3:// address of its archive."""
        return self.environment.get("SAGEMAKER_SUBMIT_DIRECTORY") or _CODE

    def _number(self, names: tuple[str, ...], default: float) -> float:
        for name in names:
            if text := self.environment.get(name):
                try:
                    number = float(text)
                except ValueError:
                    number = math.nan
                if not 0 <= number < math.inf:
                    raise BadValue(f"{name} {text!r}", "must be a number from 0 on")
                return number
        return default
