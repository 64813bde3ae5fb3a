"""ModelFiles: model, code and Python of a model server, from S3 to the folder that the model sees as /opt/ml."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from clearsight.core.bundle import MANIFEST, Bundle
from clearsight.core.errors import ClearsightError
from clearsight.core.files import sha256, stays_inside
from clearsight_sagemaker.hosting.container_definition import ContainerDefinition
from clearsight_sagemaker.s3.errors import S3Error
from clearsight_sagemaker.training.environment import (
    UserEnvironment,
    account_variables,
    device_variables,
    python_variables,
)
from clearsight_sagemaker.training.failure import JobFailed, client_error
from clearsight_sagemaker.training.job_folder import CONTAINER_ML, JobFolder, ServiceSettings
from clearsight_sagemaker.training.job_python import PipSettings, create_python
from clearsight_sagemaker.training.objects import STORE_ERRORS, Objects, split_uri
from clearsight_sagemaker.training.processes.namespaces import remove_work
from clearsight_sagemaker.training.user_code import UserCode, fetch_code

_FOLDERS = ("model", "code", "input/config", "output")
_PREPARED = "prepared"  # file of the work folder that is written last


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFiles:
    """Files of a model server. ml: path of /opt/ml as the model sees it.  write_line: takes a line of the log.

    check: called often; raises to give up.
    """

    folder: JobFolder
    container: ContainerDefinition
    service: ServiceSettings
    user: UserEnvironment
    ml: str
    write_line: Callable[[str], None]
    check: Callable[[], None]

    def prepare(self, objects: Objects) -> None:
        """Download and unpack what is not there yet. Raises JobFailed with a sentence about what cannot be had."""
        if (self.folder.work / _PREPARED).is_file():
            return  # an earlier process of the same server has done it
        remove_work(self.folder.work)
        for path in (self.folder.home, *(self.folder.ml / name for name in _FOLDERS)):
            path.mkdir(parents=True)
        self._download_model(objects)
        self.check()
        if self._is_remote_code:
            fetch_code(
                UserCode(program=self.container.program, uri=self.container.submit_directory, command=()),
                objects,
                self.folder.ml / "code",
            )
        self._create_python()
        (self.folder.work / _PREPARED).touch()

    @property
    def model(self) -> Path:
        """Folder of the model on this machine."""
        return self.folder.ml / "model"

    @property
    def is_bundle(self) -> bool:
        """True for a model that clearsight has written, and whose script is still the one that it came with."""
        if not (self.model / MANIFEST).is_file():
            return False
        try:
            bundle = Bundle.describe(self.model)
        except ClearsightError:
            return True  # its own loading says what is wrong
        script = self.model / "code" / self.container.program
        digest = bundle.files.get(f"code/{self.container.program}")
        return not script.is_file() or sha256(script) == digest

    @property
    def code(self) -> str:
        """Folder of the code as the model sees it."""
        if self._is_remote_code:
            return f"{self.ml}/code"
        directory = self.container.submit_directory.rstrip("/")
        inside = directory == CONTAINER_ML or directory.startswith(f"{CONTAINER_ML}/")
        return self.ml + directory.removeprefix(CONTAINER_ML) if inside else directory

    @property
    def program(self) -> str:
        """File with the handler functions, "" where the model has none."""
        path = self._local(self.code) / self.container.program
        return self.container.program if stays_inside(self.container.program) and path.is_file() else ""

    @property
    def variables(self) -> Mapping[str, str]:
        """Environment of the model's processes."""
        variables = {
            **account_variables(self.service, self.user),
            "SM_MODEL_DIR": f"{self.ml}/model",
            "SAGEMAKER_BASE_DIR": self.ml,
            **self.service.job_environment,
            **self.container.environment,
            # Where a program named a folder elsewhere, the code is here all the same.
            "SAGEMAKER_SUBMIT_DIRECTORY": self.code,
        }
        variables |= device_variables(self.container.image, self.container.instance, variables)
        return variables | python_variables(self.folder, self.user, self.code, variables)

    @property
    def _is_remote_code(self) -> bool:
        return self.container.submit_directory.startswith("s3://")

    def _local(self, path: str) -> Path:
        """Return the path on this machine of a path that the model sees."""
        inside = path == self.ml or path.startswith(f"{self.ml}/")
        return Path(f"{self.folder.ml}{path.removeprefix(self.ml)}") if inside else Path(path)

    def _download_model(self, objects: Objects) -> None:
        address = self.container.data
        if not address:
            return
        try:
            if self.container.is_folder:
                count = self._copy_folder(objects, address)
                self.write_line(f"Model data: {count} files of {address}.")
            else:
                fetch_code(UserCode(program="", uri=address, command=()), objects, self.model)
                self.write_line(f"Model data: {address}.")
        except S3Error as error:
            raise _not_found(address, error.message) from None
        except JobFailed as failure:  # the archive is damaged, or holds what may not be unpacked
            raise _not_found(address, failure.reason.removeprefix("ClientError: code ")) from None
        except STORE_ERRORS as error:
            raise _not_found(address, str(error)) from None

    def _copy_folder(self, objects: Objects, address: str) -> int:
        bucket, prefix = split_uri(address)
        count = 0
        for found in objects.keys(address):
            name = found.key[len(prefix) :].lstrip("/") or found.key.rpartition("/")[2]
            if found.key.endswith("/"):
                continue
            if not stays_inside(name):
                raise client_error(f"{found.key}: its name would be a path outside of the model.")
            target = self.model / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with objects.opened(f"s3://{bucket}/{found.key}") as (_, source), target.open("wb") as copy:
                shutil.copyfileobj(source, copy)
            self.check()
            count += 1
        if not count:
            raise S3Error("NoSuchKey", "no object has this prefix")
        return count

    def _create_python(self) -> None:
        requirements = self._local(self.code) / "requirements.txt"
        variables = dict(self.variables)
        if self.container.no_network:
            variables["PIP_NO_INDEX"] = "1"
        pip = PipSettings(environments=self.service.home / "environments", variables=variables, check=self.check)
        found = requirements if requirements.is_file() else None
        if found is not None:
            self.write_line("Packages of requirements.txt are installed, unless an earlier job had the same file.")
        create_python(self.folder.python, found, pip)


def _not_found(address: str, reason: str) -> JobFailed:
    text = f'Failed to download model data for container "container_1" from URL: "{address}". Please ensure that'
    return JobFailed(f"{text} there is an object located at the URL ({reason.rstrip('.')}).")
