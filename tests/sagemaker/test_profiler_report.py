"""The output of a ProfilerReport: where SageMaker's notebooks look for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clearsight.core.errors import NotFound
from clearsight.testing.profiles import healthy_cpu
from clearsight_sagemaker.measured import RULES
from clearsight_sagemaker.profiler_report import write_profiler_output
from tests.sagemaker.runs import run_folder


def test_everything_is_where_it_is_looked_for(tmp_path: Path) -> None:
    folder = write_profiler_output(run_folder(tmp_path / "run", healthy_cpu()), tmp_path / "out")
    assert folder == tmp_path / "out" / "profiler-output"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {"profiler-report.html", *(f"profiler-reports/{rule}.json" for rule in RULES)}
    for path in (folder / "profiler-reports").iterdir():
        assert json.loads(path.read_text(encoding="utf-8"))["RuleTriggered"] == 0


def test_written_again(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", healthy_cpu())
    first = (write_profiler_output(run, tmp_path) / "profiler-report.html").read_bytes()
    assert (write_profiler_output(run, tmp_path) / "profiler-report.html").read_bytes() == first


def test_nothing_is_written_where_there_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        write_profiler_output(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()
