"""A plain `pip install` brings what runs need and nothing of the extras, and keeps a torch for the CPU."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
# Builds for the CPU have a local version; these are what torch's index for CPUs serves.
CPU_BUILDS = {"torch": "2.13.0+cpu", "torchvision": "0.28.0+cpu"}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    loaded: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return loaded


def names(requirements: list[str]) -> set[str]:
    return {Requirement(text).name for text in requirements}


def test_a_plain_installation_has_no_package_of_an_extra(project: dict[str, Any]) -> None:
    lean = names(project["dependencies"])
    for extra, requirements in project["optional-dependencies"].items():
        assert not lean & names(requirements), f"{extra} is installed by default"


def test_a_plain_installation_asks_for_no_cuda_package(project: dict[str, Any]) -> None:
    # nvidia-ml-py reads gauges of a GPU through the driver: 60 kB of Python without CUDA.
    gpu = {name for name in names(project["dependencies"]) if re.match(r"nvidia|cuda|triton", name)}
    assert gpu == {"nvidia-ml-py"}


@pytest.mark.parametrize("package", CPU_BUILDS)
def test_a_torch_for_the_cpu_meets_the_requirement(project: dict[str, Any], package: str) -> None:
    (requirement,) = (Requirement(text) for text in project["dependencies"] if Requirement(text).name == package)
    assert requirement.specifier.contains(CPU_BUILDS[package])
    assert requirement.marker is None
    assert requirement.url is None


def test_the_documentation_has_the_command_for_the_cpu() -> None:
    assert "pip install torch torchvision --index-url URL" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_setup_says_what_it_does_before_it_does_it() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "setup"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    steps = [line for line in done.stdout.splitlines() if "echo" in line and "setup" in line]
    first = subprocess.run(["sh", "-c", steps[0]], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    packages = len(re.findall(r"^[\w.-]+==", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE))
    assert first.startswith(f"setup: {packages} packages into .venv; at most ")
    assert "GB to download" in first
    assert [re.search(r"step (\d) of 3", step) is not None for step in steps[1:4]] == [True] * 3
    assert "uv pip sync -q" not in done.stdout, "the installer shows its progress"
