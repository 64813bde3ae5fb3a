"""Environments for requirements.txt: packages that somebody's code asks for, beside those that are installed here.

Each file has an environment of its own, by its digest, which is made once. It sees the packages of this environment
and puts others, or other versions, before them; this environment itself is never changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import shutil
import site
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from clearsight.core.errors import ClearsightError

_COMPLETE = ".complete"  # written last
_SECONDS = 1800.0  # for pip


def python_for(requirements: Path, environments: Path, environment: Mapping[str, str]) -> Path:
    """Return the interpreter of the environment of a requirements file, which is made where it is missing.

    environments: folder of all environments.  environment: of pip, with PIP_FIND_LINKS and its like.
    Raises ClearsightError with pip's own reason.
    """
    text = requirements.read_bytes()
    digest = hashlib.sha256(b"\0".join([text, sys.version.encode(), sys.prefix.encode()])).hexdigest()[:16]
    folder = environments / digest
    environments.mkdir(parents=True, exist_ok=True)
    with (environments / f"{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another deployment may be making the same one
        if not (folder / _COMPLETE).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, requirements, environment)
    return folder / "bin" / "python"


def _make(folder: Path, requirements: Path, environment: Mapping[str, str]) -> None:
    # With pip among the packages that it sees, an environment needs none of its own, which takes seconds to unpack.
    options = ["--without-pip"] if importlib.util.find_spec("pip") is not None else []
    _run([sys.executable, "-m", "venv", *options, str(folder)], environment, f"environment of {requirements.name}")
    [packages] = folder.glob("lib/python*/site-packages")
    # addsitedir and not a plain path: it reads the .pth files of that folder too.
    lines = [f"import site; site.addsitedir({path!r})" for path in _site_packages()]
    (packages / "clearsight-packages.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    _run([*words, "-r", str(requirements)], environment, str(requirements.name))
    (folder / _COMPLETE).touch()


def _run(words: list[str], environment: Mapping[str, str], what: str) -> None:
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, env=dict(environment), timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ClearsightError(what, f"its packages were not installed within {_SECONDS:g} s") from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        reason = errors[-1].removeprefix("ERROR:").strip() if errors else f"exit code {done.returncode}"
        fix = "Without a network, name a folder of wheels with PIP_FIND_LINKS and PIP_NO_INDEX=1."
        raise ClearsightError(what, f"pip cannot install its packages: {reason}", fix=fix)


def _site_packages() -> list[str]:
    return [path for path in site.getsitepackages() if Path(path).is_dir()]
