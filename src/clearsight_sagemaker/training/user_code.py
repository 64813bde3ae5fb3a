"""UserCode: the script of a job, its folder, and the command that runs it."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from clearsight.core.errors import ClearsightError
from clearsight.core.files import stays_inside, unpack
from clearsight_sagemaker.algorithms.built_in_algorithms import algorithm_command, algorithm_of
from clearsight_sagemaker.s3.errors import S3Error
from clearsight_sagemaker.training.failure import client_error
from clearsight_sagemaker.training.hyperparameters import Hyperparameters
from clearsight_sagemaker.training.objects import Objects

# Ways of distribution that need programs or hardware which are not here.
_UNSUPPORTED = (
    "sagemaker_mpi_enabled",
    "sagemaker_distributed_dataparallel_enabled",
    "sagemaker_parameter_server_enabled",
)
_TORCHRUN = ("sagemaker_torch_distributed_enabled", "sagemaker_pytorch_ddp_enabled")


@dataclass(frozen=True, kw_only=True, slots=True)
class UserCode:
    """Script of a job, or its container command. program: path in the folder of the code, "" for a container command.

    uri: of the code's archive, as SM_MODULE_DIR.  torchrun: True for torchrun, with one process for each GPU.
    is_built_in: True for the program of a built-in algorithm, which is clearsight's own.
    """

    program: str
    uri: str
    command: tuple[str, ...]
    torchrun: bool = False
    is_built_in: bool = False

    @classmethod
    def of(cls, request: Mapping[str, Any], hyperparameters: Hyperparameters) -> UserCode:
        """Return the code of a request. Raises JobFailed where there is none, or it needs what is not here."""
        algorithm, framework = request["AlgorithmSpecification"], hyperparameters.framework
        if algorithm_of(request):
            return cls(program="", uri="", command=algorithm_command(request), is_built_in=True)
        container = (*algorithm.get("ContainerEntrypoint", ()), *algorithm.get("ContainerArguments", ()))
        if algorithm.get("ContainerEntrypoint"):
            return cls(program="", uri="", command=container)
        program = framework.get("sagemaker_program")
        if not isinstance(program, str) or not program:
            text = "the request names no script. Set entry_point of the estimator, or ContainerEntrypoint."
            raise client_error(f"{text} Images with an algorithm of their own cannot run here.")
        if not stays_inside(program):
            raise client_error(f"sagemaker_program {program}: must be a path in the code of the job.")
        for name in _UNSUPPORTED:
            if framework.get(name):
                raise client_error(f"{name}: not supported here. Use torch_distributed, or no distribution.")
        torchrun = any(framework.get(name) for name in _TORCHRUN)
        uri = str(framework.get("sagemaker_submit_directory") or "")
        return cls(program=program, uri=uri, command=(), torchrun=torchrun)

    def script_command(self, code: Path, arguments: list[str], processes: int) -> list[str]:
        """Return the command of the script. code: folder of the code.  processes: of torchrun.

        The toolkit runs its command in a shell, which takes quotes off: the batch size that a tuning job describes as
        "64", with its quotes, is a number to the script of the next training job. Other words, such as lists with
        blanks, a shell would take apart; here they stay whole.
        """
        if self.command:
            return list(self.command)
        arguments = [without_quotes(word) for word in arguments]
        if not self.program.endswith(".py"):
            return ["/bin/sh", "-c", 'program="$0"; exec "./$program" "$@"', self.program, *arguments]
        words = ["python"]
        if self.torchrun:
            words += ["-m", "torch.distributed.run", "--nnodes", "1", "--nproc_per_node", str(max(1, processes))]
        if (code / "setup.py").is_file():
            return [*words, "-m", self.program.removesuffix(".py").replace("/", "."), *arguments]
        return [*words, self.program, *arguments]


def without_quotes(word: str) -> str:
    """Return a word without the pair of quotes around it; a word that is not enclosed in one stays as it is."""
    quote = word[:1]
    is_quoted = len(word) > 1 and quote in ("'", '"') and word.endswith(quote)
    return word[1:-1] if is_quoted and not {quote, "\\"} & {*word[1:-1]} else word


def fetch_code(code: UserCode, objects: Objects, folder: Path) -> None:
    """Put the code of a job into a folder. Raises JobFailed for an archive that is missing or not safe."""
    folder.mkdir(parents=True, exist_ok=True)
    if not code.uri:
        return
    try:
        if code.uri.startswith("s3://"):
            with objects.opened(code.uri) as (path, _):
                _unpack(path, folder)
            return
        local = Path(unquote(urlsplit(code.uri).path)) if code.uri.startswith("file://") else Path(code.uri)
        if local.is_dir():
            shutil.copytree(local, folder, dirs_exist_ok=True)
        else:
            _unpack(local, folder)
    except S3Error as error:
        raise client_error(f"code {code.uri}: {error.code}: {error.message.rstrip('.')}.") from None
    except ClearsightError as error:
        raise client_error(f"code {code.uri}: {error.problem}.") from None


def _unpack(archive: Path, folder: Path) -> None:
    unpack(archive, folder)
    if not tarfile.is_tarfile(archive):
        return
    with tarfile.open(archive) as members:  # `unpack` has proved it to be safe; it leaves modes out
        for member in members:
            if member.isfile() and member.mode & 0o100:
                (folder / member.name).chmod(0o755)


def make_executable(script: Path) -> None:
    """Allow a script that is not Python to be run."""
    if script.is_file() and script.suffix != ".py":
        script.chmod(script.stat().st_mode | 0o111)
