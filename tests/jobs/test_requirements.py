"""An environment for each requirements.txt: it sees what is installed here, and changes nothing of it."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from clearsight.core.errors import ClearsightError
from clearsight.jobs.requirements import python_for


def write_wheel(folder: Path, name: str, version: str) -> None:
    """Write a wheel with one module, which knows its version."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: a-test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


def test_packages_are_added_to_those_that_are_here(tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels", "breednames", "1.5")
    write_wheel(tmp_path / "wheels", "click", "0.0.1")  # another version than that of clearsight
    offline = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels")}
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("breednames>=1\nclick==0.0.1\nnumpy\n")
    python = python_for(requirements, tmp_path / "environments", offline)
    program = "import breednames, click, numpy, starlette; print(breednames.VERSION, click.VERSION, numpy.__version__)"
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    import click
    import numpy

    assert done.stdout.split() == ["1.5", "0.0.1", numpy.__version__]
    assert hasattr(click, "command")  # ours is as before
    made = (python.parent.parent / ".complete").stat().st_mtime_ns
    assert python_for(requirements, tmp_path / "environments", offline) == python  # made once
    assert (python.parent.parent / ".complete").stat().st_mtime_ns == made

    requirements.write_text("no-such-breeds==1\n")
    with pytest.raises(ClearsightError, match=r"requirements.txt: pip cannot .*no-such-breeds==1.*PIP_FIND_LINKS"):
        python_for(requirements, tmp_path / "environments", offline)
