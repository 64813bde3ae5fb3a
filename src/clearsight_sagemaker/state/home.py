"""ServiceHome: the folder of a service. LocalAccount: account, region and role that requests are made in."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadValue
from clearsight.core.files import read_json, write_text

_ACCOUNT = "000000000000"
_ROLE = "clearsight"


@dataclass(frozen=True, kw_only=True)
class LocalAccount:
    """Account of a service. access_key, secret_key: of clients; checked where the service requires signatures."""

    region: str
    account: str
    role: str
    access_key: str
    secret_key: str

    @property
    def bucket(self) -> str:
        """Default bucket, as the SDK names it."""
        return f"sagemaker-{self.region}-{self.account}"

    @property
    def role_arn(self) -> str:
        """ARN of the role."""
        return f"arn:aws:iam::{self.account}:role/{self.role}"

    def arn(self, kind: str, name: str) -> str:
        """Return the ARN of a resource of SageMaker. kind: "training-job"."""
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{kind}/{name}"


class ServiceHome:
    """Paths of a home. Its owner alone may read the folder: job requests and credentials may hold secrets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def create(self) -> None:
        """Create the folders that are missing; raises BadValue where that is not possible."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (self.jobs, self.objects, self.client):
                folder.mkdir(exist_ok=True)
        except (FileExistsError, NotADirectoryError, FileNotFoundError, PermissionError) as error:
            problem = f"the folder cannot be made ({error.strerror})"
            raise BadValue(f"--home {self.folder}", problem, fix="Choose another folder.") from None

    @property
    def objects(self) -> Path:
        """Folder of the object store."""
        return self.folder / "objects"

    @property
    def jobs(self) -> Path:
        """Folder with one folder for each job."""
        return self.folder / "jobs"

    @property
    def studies(self) -> Path:
        """Folder with one folder for each tuning job whose study was opened."""
        return self.folder / "studies"

    @property
    def endpoints(self) -> Path:
        """Folder with one folder for each endpoint."""
        return self.folder / "endpoints"

    @property
    def processes(self) -> Path:
        """Home of the supervisor."""
        return self.folder / "processes"

    @property
    def client(self) -> Path:
        """Folder with what clients are given: configuration of the SDK, the import hook."""
        return self.folder / "client"

    @property
    def metrics(self) -> Path:
        """File of the metrics that clients have put, one JSON object a line."""
        return self.folder / "metrics.jsonl"

    @property
    def component_metrics(self) -> Path:
        """Folder with a file for each trial component whose metrics clients have put, one JSON object a line."""
        return self.folder / "component-metrics"

    @property
    def notifications(self) -> Path:
        """File of the messages that topics were sent, one JSON object a line."""
        return self.folder / "notifications.jsonl"

    @property
    def address_file(self) -> Path:
        """File that says where the service listens."""
        return self.folder / "service.json"

    def state_url(self) -> str:
        """Return the address of the table where nothing else is asked for."""
        return f"sqlite:///{self.folder / 'state.sqlite'}"

    def account(self, environment: Mapping[str, str]) -> LocalAccount:
        """Return the account of this home; it is chosen once, with the region of AWS_REGION or AWS_DEFAULT_REGION."""
        path = self.folder / "account.json"
        if not path.is_file():
            region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
            values = {
                "region": region,
                "account": _ACCOUNT,
                "role": _ROLE,
                "access_key": f"AKIA{secrets.token_hex(8).upper()}",
                "secret_key": secrets.token_urlsafe(30),
            }
            write_text(path, json.dumps(values, indent=2) + "\n", private=True)
        try:
            return LocalAccount(**read_json(path))
        except TypeError:
            raise BadValue(str(path), "it does not hold an account", fix="Remove the file.") from None

    def use_keys(self, environment: Mapping[str, str]) -> None:
        """Give the account the keys of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; raises BadValue without them."""
        keys = [environment.get(name, "") for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
        if not all(keys):
            problem = "its keys are missing"
            raise BadValue("--s3-endpoint", problem, fix="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
        self.create()
        account = replace(self.account(environment), access_key=keys[0], secret_key=keys[1])
        write_text(self.folder / "account.json", json.dumps(asdict(account), indent=2) + "\n", private=True)

    def address(self) -> dict[str, Any]:
        """Return where the service listens, or listened last; {} for a home without one."""
        return dict(read_json(self.address_file)) if self.address_file.is_file() else {}


def default_home(environment: Mapping[str, str]) -> Path:
    """Return the home that commands use: $CLEARSIGHT_SAGEMAKER_HOME, else a folder of the user."""
    if folder := environment.get("CLEARSIGHT_SAGEMAKER_HOME"):
        return Path(folder)
    state = Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return Path(environment.get("CLEARSIGHT_HOME") or state / "clearsight") / "sagemaker"
