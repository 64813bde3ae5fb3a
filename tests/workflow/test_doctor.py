"""doctor reports facts about the machine, and advice about problems alone."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from clearsight.cli.commands.doctor import doctor_lines
from clearsight.workflow.doctor import EXTRAS, DoctorReport, advice, doctor, extra_packages, further_checks
from clearsight.workflow.paths import Paths


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> DoctorReport:
    folder = tmp_path_factory.mktemp("weights")
    (folder / "resnet18.safetensors").write_bytes(b"")
    (folder / "notes.txt").write_bytes(b"")
    return doctor(Paths(cache=folder / "not" / "there", weights=(folder, folder / "none")), folder)


def healthy(found: DoctorReport) -> DoctorReport:
    """Return the same machine without any problem."""
    return replace(
        found,
        threads={"cores": 4, "torch": 4},
        disk={"here": 1 << 40, "cache": 1 << 40},
        shared_memory=1 << 30,
        extras=dict.fromkeys(found.extras, "1.0"),
    )


def test_facts_are_plain_json(found: DoctorReport) -> None:
    assert json.loads(json.dumps(found.to_json())) == found.to_json()
    assert "cpu" in found.devices
    assert found.weights[0]["files"] == ["resnet18.safetensors"]
    assert found.weights[1] == {"folder": found.weights[1]["folder"], "exists": False, "files": []}


def test_packages_beside_clearsight_say_a_sentence_each(found: DoctorReport, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        importlib.metadata.EntryPoint(name=name, value=value, group="clearsight.checks")
        for name, value in (("folder", "os:getcwd"), ("missing", "no_such_package:check"))
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)
    checks = further_checks()
    assert checks["folder"] == str(Path.cwd())
    assert checks["missing"] == "cannot be checked (No module named 'no_such_package')"
    lines = doctor_lines({**found.to_json(), "checks": checks})
    assert any(line.startswith("missing   cannot be checked") for line in lines)


def test_a_healthy_machine_gets_no_advice(found: DoctorReport) -> None:
    assert advice(healthy(found), None, gpu_in_machine=False) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"threads": {"cores": 2, "torch": 16}}, "OMP_NUM_THREADS=2"),
        ({"disk": {"here": 1 << 20, "cache": 1 << 40}}, "free in this folder"),
        ({"disk": {"here": 1 << 40, "cache": 1 << 20}}, "CLEARSIGHT_CACHE"),
        ({"disk": {"here": 1 << 40, "cache": 0}}, "cannot be written to: set CLEARSIGHT_CACHE"),
        ({"shared_memory": 64 << 20}, "--shm-size"),
        ({"extras": {"openvino": None}}, "clearsight[openvino]"),
        ({"weights": [{"folder": "/w", "exists": True, "files": []}]}, "--weights FILE or put files into /w"),
    ],
)
def test_one_line_for_each_problem(found: DoctorReport, change: dict[str, object], sentence: str) -> None:
    (line,) = advice(replace(healthy(found), **change), None, gpu_in_machine=False)  # type: ignore[arg-type]
    assert sentence in line


def test_a_gpu_that_torch_cannot_use_is_reported(found: DoctorReport) -> None:
    (line,) = advice(replace(healthy(found), devices=["cpu"]), None, gpu_in_machine=True)
    assert "nvidia-smi" in line


def test_every_extra_of_the_project_is_checked(found: DoctorReport) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS) == {*project["optional-dependencies"]} - {"dev"}
    assert list(found.extras) == list(EXTRAS)
    assert extra_packages()["huggingface"] == ["accelerate", "transformers"]
    assert all(extra_packages().values())


def test_an_extra_is_listed_with_its_command(found: DoctorReport) -> None:
    result = replace(found, extras={**found.extras, "ray": None, "parquet": "18.0.0"}).to_json()
    lines = doctor_lines(result)
    assert any(line.startswith("extra     ray ") and line.endswith("pip install 'clearsight[ray]'") for line in lines)
    assert any("18.0.0" in line and "pip" not in line for line in lines if "parquet" in line)


@pytest.mark.parametrize("place", ["file/cache", "missing/cache", "closed/cache"])
def test_a_cache_that_cannot_be_used_is_advice_and_no_error(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "closed").mkdir()
    usage = shutil.disk_usage

    def of(path: Path) -> object:
        if "closed" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return usage(path)

    monkeypatch.setattr("shutil.disk_usage", of)
    report = doctor(Paths(cache=tmp_path / place, weights=(tmp_path / place,)), tmp_path)
    assert report.weights == [{"folder": str(tmp_path / place), "exists": False, "files": []}]
