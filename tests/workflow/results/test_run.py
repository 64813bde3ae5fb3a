"""A trained run has a summary of one screen, the same in a notebook, and charts of everything in it."""

from __future__ import annotations

from pathlib import Path

import pytest

import clearsight
from clearsight.core.errors import BadChoice, EmptyInput, MissingExtra
from clearsight.core.events import RunStatus
from clearsight.workflow.results import figures
from clearsight.workflow.results.run import TrainedRun
from tests.workflow.run_folders import CLASSES, write_evaluation, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    run = write_run(tmp_path_factory.mktemp("runs") / "first")
    write_evaluation(run, [True] * 8 + [False] * 2)
    return TrainedRun.open(run.path)


def test_the_public_name_opens_runs_with_charts(run: TrainedRun) -> None:
    assert isinstance(clearsight.Run.open(run.path), TrainedRun)


def test_the_summary_fits_one_screen(run: TrainedRun) -> None:
    lines = repr(run).splitlines()
    assert lines[0] == "Run first"
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 120
    assert "  model     tiny" in lines


def test_the_summary_of_a_notebook_is_self_contained_and_escaped(tmp_path: Path) -> None:
    html = TrainedRun.of(write_run(tmp_path / "<i>x", model="tiny"))._repr_html_()
    assert "&lt;i&gt;x" in html
    assert "<i>x" not in html
    assert html.count("<svg") == 2, "curves of loss and accuracy"
    assert "http" not in html
    assert "<script" not in html


@pytest.mark.parametrize(("what", "points"), [("loss", [1, 2, 3]), ("accuracy", [1, 2, 3]), ("lr", [1, 2, 3])])
def test_a_metric_by_epoch(run: TrainedRun, what: str, points: list[int]) -> None:
    assert list(run.plot(what).data[0].x) == points


def test_a_metric_by_step_has_every_step(run: TrainedRun) -> None:
    assert list(run.plot("loss", by="step").data[0].x) == list(range(1, 61))


def test_what_is_measured_by_step_alone_is_drawn_by_step(run: TrainedRun) -> None:
    assert run.plot("step_seconds").layout.xaxis.title.text == "step"
    with pytest.raises(BadChoice, match="it is saved by step"):
        run.plot("step_seconds", by="epoch")


def test_charts_of_the_evaluation(run: TrainedRun) -> None:
    assert list(run.plot("confusion").layout.xaxis.ticktext) == list(CLASSES)
    assert run.plot("calibration").layout.title.text.startswith("Calibration of first: ECE")
    assert len(run.plot("classes").data) == 3
    assert all(note.font.color for note in run.plot("confusion").layout.annotations), "numbers are legible"


def test_an_unknown_name_gets_the_nearest(run: TrainedRun) -> None:
    with pytest.raises(BadChoice, match="Did you mean accuracy"):
        run.plot("acuracy")
    with pytest.raises(BadChoice, match="no such axis"):
        run.plot("loss", by="hour")  # type: ignore[arg-type]


def test_a_run_without_evaluation_says_how_to_get_one(tmp_path: Path) -> None:
    run = TrainedRun.of(write_run(tmp_path / "cut", done=1, status=RunStatus.INTERRUPTED))
    with pytest.raises(EmptyInput, match=r"clearsight.evaluate\(run, DATA\)"):
        run.plot("confusion")
    assert "interrupted" in repr(run)


def test_without_plotly_the_error_names_it(run: TrainedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(figures.importlib, "import_module", missing)
    with pytest.raises(MissingExtra, match="pip install plotly"):
        run.plot("loss")
