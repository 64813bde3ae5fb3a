"""JobFolder: every path of a job's folder. ServiceSettings: service.json, as the service writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadData
from clearsight.core.files import read_json

CONTAINER_ML = "/opt/ml"  # as jobs see `JobFolder.ml`
WORK_FOLDERS = ("work", "model")  # of a job, needed only while it runs: its own files, and those of a model server


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceSettings:
    """Settings of the service that started the job.

    role: ARN.  bucket: default bucket.  objects: folder of the object store.  s3_endpoint: address of another S3
    in its place, "" for none.  home: folder of the service.
    endpoint_url: address for the job's own requests.  job_environment: variables that every job gets.
    """

    region: str
    account: str
    role: str
    bucket: str
    endpoint_url: str
    objects: Path
    home: Path
    access_key: str
    secret_key: str
    job_environment: Mapping[str, str]
    s3_endpoint: str = ""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ServiceSettings:
        """Return the settings of service.json. Raises KeyError for a missing one."""
        texts = ("region", "account", "role", "bucket", "endpoint_url", "access_key", "secret_key")
        return cls(
            **{name: str(values[name]) for name in texts},
            objects=Path(values["objects"]),
            home=Path(values["home"]),
            s3_endpoint=str(values.get("s3_endpoint", "")),
            job_environment={str(name): str(value) for name, value in values["job_environment"].items()},
        )


@dataclass(frozen=True, slots=True)
class JobFolder:
    """Paths of a job. The folder is the service's; what lies in `work` is removed when the job has ended."""

    path: Path

    @property
    def request(self) -> Path:
        """Return the path of the CreateTrainingJob request."""
        return self.path / "request.json"

    @property
    def events(self) -> Path:
        """Return the path of the events that the service reads."""
        return self.path / "events.jsonl"

    @property
    def log(self) -> Path:
        """Return the path of the log that the service reads."""
        return self.path / "log.txt"

    @property
    def stop(self) -> Path:
        """Return the path of the file whose presence asks the job to stop."""
        return self.path / "stop"

    @property
    def interrupt(self) -> Path:
        """Return the path of the file whose presence interrupts a spot job; it is removed then."""
        return self.path / "interrupt"

    @property
    def work(self) -> Path:
        """Return the folder of everything that is needed only while the job runs."""
        return self.path / "work"

    @property
    def ml(self) -> Path:
        """Return the folder that the job sees as /opt/ml."""
        return self.work / "ml"

    @property
    def channels(self) -> Path:
        """Return the folder of channels whose files are links to objects; jobs see it through an overlay alone."""
        return self.work / "channels"

    @property
    def mounts(self) -> Path:
        """Return the folder for upper folders of overlays."""
        return self.work / "mounts"

    @property
    def python(self) -> Path:
        """Return the folder of the job's own Python environment."""
        return self.work / "python"

    @property
    def home(self) -> Path:
        """Return the folder that the job has as HOME."""
        return self.work / "home"

    @property
    def run(self) -> Path:
        """Return clearsight's run folder of a job that has ended, with what its hook has recorded beside smdebug."""
        return self.path / "run"

    def inside(self, container_path: str) -> Path:
        """Return the path on this machine of a path in /opt/ml. Raises ValueError for one that is elsewhere."""
        parts = Path(container_path).relative_to(CONTAINER_ML)
        if ".." in parts.parts:
            raise ValueError(container_path)
        return self.ml / parts

    def read_request(self) -> dict[str, Any]:
        """Return the CreateTrainingJob request. Raises BadData for a damaged file."""
        request: dict[str, Any] = read_json(self.request)
        return request

    def read_service(self) -> ServiceSettings:
        """Return the settings of the service. Raises BadData for a damaged file."""
        file = self.path / "service.json"
        try:
            return ServiceSettings.from_json(read_json(file))
        except (KeyError, TypeError, AttributeError) as error:
            raise BadData(str(file), f"it is damaged ({type(error).__name__}: {error})") from None
