"""Python of a job: an environment that sees the packages of this one, into which the job may install others."""

from __future__ import annotations

import json
import os
import signal
import site
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clearsight.core.errors import ClearsightError
from clearsight.jobs.requirements import python_for
from clearsight_sagemaker.training.failure import JobFailed

# Programs that have to belong to the environment of the job; those of the product would run in the product's.
_PROGRAMS = {"pip": "pip", "pip3": "pip", "torchrun": "torch.distributed.run"}

_CHECK_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class PipSettings:
    """Settings of the installation of packages.

    environments: folder of the environments of requirements files.  variables: environment of pip.
    check: called several times a second while pip works; raises to give up. pip then ends by itself, and what it has
    installed is there for the next job.
    """

    environments: Path
    variables: Mapping[str, str]
    check: Callable[[], None]


def create_python(folder: Path, requirements: Path | None, pip: PipSettings) -> None:
    """Make the environment of a job in `folder`.

    Packages of a requirements file come from an environment of its own, which is made once for all jobs that have
    the same file. What the job installs itself goes into `folder`, before both.
    Raises JobFailed with the package that cannot be had.
    """
    packages = [path for path in site.getsitepackages() if Path(path).is_dir()]
    if requirements is not None and _has_packages(requirements):
        shared = _shared_python(requirements, pip).parents[1]
        packages = [*(str(path) for path in shared.glob("lib/python*/site-packages")), *packages]
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    [job_packages] = folder.glob("lib/python*/site-packages")
    # addsitedir and not a plain path: it reads the .pth files of that folder too.
    lines = [f"import site; site.addsitedir({path!r})" for path in packages]
    (job_packages / "clearsight-packages.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, module in _PROGRAMS.items():
        program = folder / "bin" / name
        program.write_text(f'#!/bin/sh\nexec "$(dirname "$0")/python" -m {module} "$@"\n', encoding="utf-8")
        program.chmod(0o755)


def _shared_python(requirements: Path, pip: PipSettings) -> Path:
    """Return the interpreter of the environment of a requirements file. Raises JobFailed.

    It is made in a process of its own, which can be ended with all that it has started.
    """
    request = {
        "requirements": str(requirements), "environments": str(pip.environments), "variables": dict(pip.variables)
    }  # fmt: skip
    words = [sys.executable, "-m", "clearsight_sagemaker.training.job_python"]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with process.stdin as stdin:
                json.dump(request, stdin)
            while process.poll() is None:
                pip.check()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_CHECK_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        result = json.loads(process.stdout.read() or "{}")
    if "python" in result:
        return Path(result["python"])
    reason = result.get("error") or "pip was killed."
    raise JobFailed(f'AlgorithmError: InstallRequirementsError:\nExitCode 1\nErrorMessage "{reason}", exit code: 1', 1)


def install_package(python: Path, code: Path, environment: Mapping[str, str]) -> Sequence[str]:
    """Install the package whose setup.py is in the folder of the code; return pip's lines. Raises JobFailed."""
    words = [str(python), "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-input", str(code)]
    done = subprocess.run(words, capture_output=True, text=True, env=dict(environment), check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        raise JobFailed(f'AlgorithmError: InstallModuleError:\nExitCode 1\nErrorMessage "{reason}", exit code: 1', 1)
    return done.stdout.splitlines()


def _has_packages(requirements: Path) -> bool:
    text = requirements.read_text(encoding="utf-8", errors="replace")
    return any(line.split("#")[0].strip() for line in text.splitlines())


def main() -> None:
    """Make the environment of a requirements file: reads its request as JSON, and writes the result as JSON."""
    request = json.load(sys.stdin)
    try:
        python = python_for(Path(request["requirements"]), Path(request["environments"]), request["variables"])
        print(json.dumps({"python": str(python)}))
    except ClearsightError as error:
        print(json.dumps({"error": str(error)}))


if __name__ == "__main__":
    main()
