"""Python of a job: an environment that sees the packages of this one, into which the job may install others."""

from __future__ import annotations

import site
import subprocess
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

from clearsight.core.errors import ClearsightError
from clearsight.jobs.requirements import python_for
from clearsight_sagemaker.training.failure import JobFailed

# Programs that have to belong to the environment of the job; those of the product would run in the product's.
_PROGRAMS = {"pip": "pip", "pip3": "pip", "torchrun": "torch.distributed.run"}


def create_python(folder: Path, requirements: Path | None, environments: Path, environment: Mapping[str, str]) -> None:
    """Make the environment of a job in `folder`.

    Packages of a requirements file come from an environment of its own, which is made once for all jobs that have
    the same file, in `environments`. What the job installs itself goes into `folder`, before both.
    environment: of pip. Raises JobFailed with the package that cannot be had.
    """
    packages = [path for path in site.getsitepackages() if Path(path).is_dir()]
    if requirements is not None and _has_packages(requirements):
        try:
            shared = python_for(requirements, environments, environment).parents[1]
        except ClearsightError as error:
            head = f'AlgorithmError: InstallRequirementsError:\nExitCode 1\nErrorMessage "{error}"'
            raise JobFailed(f"{head}, exit code: 1", 1) from None
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


def install_package(python: Path, code: Path, environment: Mapping[str, str]) -> Sequence[str]:
    """Install the package whose setup.py is in the folder of the code; return pip's lines. Raises JobFailed."""
    words = [str(python), "-m", "pip", "install", "--no-deps", "--disable-pip-version-check", "--no-input", str(code)]
    done = subprocess.run(words, capture_output=True, text=True, env=dict(environment), check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        raise JobFailed(f'AlgorithmError: InstallModuleError:\nExitCode 1\nErrorMessage "{reason}", exit code: 1', 1)
    return done.stdout.splitlines()


def _has_packages(requirements: Path) -> bool:
    text = requirements.read_text(encoding="utf-8", errors="replace")
    return any(line.split("#")[0].strip() for line in text.splitlines())
