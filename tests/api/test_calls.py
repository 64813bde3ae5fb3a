"""Calls from Python do what the command does: the same defaults, the same lines, the same results."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import clearsight
from clearsight.core.errors import BadChoice, BadValue, NotFound
from clearsight.core.events import RunStatus
from clearsight.core.exports import GateFigures
from clearsight.core.run import Run
from clearsight.testing.mean_colour import make_bundle
from clearsight.workflow.deployment.benchmark import Benchmark
from clearsight.workflow.deployment.build import Export
from tests.workflow.colour_images import write_class_folders, write_image
from tests.workflow.run_folders import append_epochs, write_run
from tests.workflow.study_folders import BETTER, GOOD, write_study


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """Calls of the verb `train`, which here writes a run folder instead of training. The working folder is empty."""
    calls: list[dict[str, Any]] = []

    def train(data: str, *, out: Path, recipe: Any, launch: Any, **settings: Any) -> Run:
        calls.append({"data": data, "out": out, "launch": launch, "settings": settings})
        return write_run(out)

    monkeypatch.setattr("clearsight.workflow.train.train", train)
    monkeypatch.chdir(tmp_path)
    return calls


def test_a_run_gets_the_folder_of_the_command(trained: list[dict[str, Any]]) -> None:
    assert [str(clearsight.train("photos/").path) for _ in range(2)] == ["runs/photos-1", "runs/photos-2"]


def test_progress_shows_the_end_of_a_run_as_the_command_does(
    trained: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    clearsight.train("photos", progress=False)
    clearsight.train("photos")  # no terminal and no notebook
    assert capsys.readouterr().out == ""
    clearsight.train("photos", progress=True)
    assert capsys.readouterr().out.startswith("completed after 37.5 s")


def test_caches_and_weights_are_those_of_the_environment(
    trained: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARSIGHT_WEIGHTS", "/my/weights")
    clearsight.train("photos")
    assert Path("/my/weights") in trained[0]["launch"].paths.weights


def test_a_mistake_is_raised_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadValue, match="head 'wide': must be a list of whole numbers"):
        clearsight.train("photos", head="750,wide")
    with pytest.raises(BadChoice, match="epochs here"):
        clearsight.train("photos", epoch=3)  # type: ignore[call-arg]
    assert list(tmp_path.iterdir()) == []


def test_resume_takes_a_run_or_a_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", done=1, status=RunStatus.INTERRUPTED)

    def resume(path: Path, *, data: Any, launch: Any, accept_replaced: bool) -> Run:
        assert (data, accept_replaced) == ("moved", True)
        append_epochs(run, [2, 3])
        return Run.open(path)

    monkeypatch.setattr("clearsight.workflow.train.resume", resume)
    assert len(clearsight.resume(run, data="moved", accept_replaced=True).epochs()) == 3
    with pytest.raises(
        BadValue, match=r"a run continues with its own recipe\. Only time_limit and epochs can be given"
    ):
        clearsight.resume(run.path, lr=9)
    study, changes = write_study(tmp_path / "study", [GOOD, BETTER]), {}
    monkeypatch.setattr(
        "clearsight.workflow.tune.resume_study",
        lambda path, data, launch, **given: (changes.update(given, data=data), study)[1],
    )
    assert [trial.number for trial in clearsight.resume(study, trials=40).trials] == [0, 1]
    assert changes == {"trials": 40, "data": None}
    clearsight.resume(study, data="moved")
    assert changes["data"] == "moved"
    with pytest.raises(BadValue, match="images of a study cannot be replaced"):
        clearsight.resume(study, accept_replaced=True)
    monkeypatch.undo()
    with pytest.raises(NotFound, match="there is no run in this folder"):
        clearsight.resume(tmp_path / "nothing")


def test_a_study_takes_the_words_of_the_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    study, given = write_study(tmp_path / "study", [GOOD]), {}
    monkeypatch.setattr("clearsight.workflow.tune.tune", lambda data, **options: (given.update(options), study)[1])
    clearsight.tune("photos", tune="lr,batch-size", metric="loss", search="random", space="epochs=int(2,5)")
    assert (given["vary"], given["metric"], given["searcher"]) == (["lr", "batch_size"], ["loss"], "random")
    assert given["space"] == "epochs=int(2,5)"


def test_data_returns_an_audit_with_summary_and_charts(tmp_path: Path) -> None:
    photos = write_class_folders(tmp_path / "photos", {"red": 6, "green": 5, "weiß": 4})
    audited = clearsight.data(photos)
    assert "green" in repr(audited)
    assert len(repr(audited).splitlines()) <= 40
    assert "<script" not in audited._repr_html_()
    assert audited.plot().data
    assert [note.text for note in audited.plot("images", count=2).layout.annotations] == ["green", "red"]
    assert len(clearsight.data(photos, ignore_class="weiß", progress=False).dataset.classes) == 2


def test_evaluate_shows_scores_and_charts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = write_class_folders(tmp_path / "photos", {"red": 3, "green": 2})
    bundle = make_bundle(tmp_path / "bundle").path
    evaluation = clearsight.evaluate(bundle, photos, out=tmp_path / "out", progress=True)
    assert capsys.readouterr().out.startswith("5 images of the test split")
    assert (tmp_path / "out" / "predictions.csv").is_file()
    assert "accuracy" in evaluation._repr_html_()
    assert evaluation.plot("calibration").data
    with pytest.raises(BadChoice, match="Did you mean confusion"):
        evaluation.plot("confusio")


def test_debug_takes_one_rule_as_text(tmp_path: Path) -> None:
    diagnosis = clearsight.debug(write_run(tmp_path / "run"), rules="none", rule="Overfit(patience=3)")
    assert [finding.rule for finding in diagnosis.findings] == ["Overfit"]
    assert "verdicts" in repr(diagnosis)
    assert "verdicts" in diagnosis._repr_html_()


def test_compare_takes_runs_one_by_one_or_as_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", level=0.6)]
    monkeypatch.chdir(tmp_path)
    assert repr(clearsight.compare(*runs, out=None)) == repr(clearsight.compare(runs, out=None))
    assert not (tmp_path / "compare.html").exists()
    clearsight.compare(*runs)  # as the command, which writes a page
    assert (tmp_path / "compare.html").is_file()
    assert "verdict" in clearsight.compare(*runs, out=tmp_path / "c.html")._repr_html_()
    assert (tmp_path / "c.html").is_file()


def test_report_writes_the_page_of_a_run_and_of_a_study(tmp_path: Path) -> None:
    assert clearsight.report(write_run(tmp_path / "run")) == tmp_path / "run" / "report.html"
    study = write_study(tmp_path / "study", [GOOD, BETTER])
    copied = clearsight.report(study, out=tmp_path / "deep" / "s.html")
    assert copied.read_bytes() == (study.path / "report.html").read_bytes()
    with pytest.raises(BadChoice, match="no such format"):
        clearsight.report(study, format="docx")  # type: ignore[arg-type]


def test_predict_writes_the_files_of_the_command(tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.png", "red")
    found = clearsight.predict(make_bundle(tmp_path / "b").path, image, csv=tmp_path / "p.csv", out=tmp_path / "out")
    assert [row.label for row in found] == ["red"]
    assert (tmp_path / "p.csv").read_bytes() == (tmp_path / "out" / "predictions.csv").read_bytes()


def test_transform_writes_the_rows_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [write_image(tmp_path / f"{colour}.png", colour) for colour in ("red", "green")]
    bundle = make_bundle(tmp_path / "b")
    shown: list[tuple[int, int]] = []
    found = clearsight.transform(
        bundle, images, tmp_path / "out.jsonl", progress=lambda activity, done, total: shown.append((done, total))
    )
    assert (found.images, found.errors, shown) == (2, 0, [(0, 2), (2, 2)])
    assert [json.loads(line)["label"] for line in (tmp_path / "out.jsonl").read_text().splitlines()] == ["red", "green"]
    with pytest.raises(BadChoice, match="Allowed: skip, stop"):
        clearsight.transform(bundle, images, tmp_path / "out.jsonl", on_error="ignore")  # type: ignore[arg-type]
    assert clearsight.transform(bundle, images, tmp_path / "out.jsonl", progress=True).written == 0
    assert capsys.readouterr().out == f"{clearsight.transform(bundle, images, tmp_path / 'out.jsonl')!r}\n"


def test_an_endpoint_serves_until_it_is_stopped(tmp_path: Path) -> None:
    with clearsight.serve(make_bundle(tmp_path / "bundle").path, port=0) as endpoint:
        with urllib.request.urlopen(f"{endpoint.url}/ping", timeout=10) as reply:
            assert reply.status == 200
        assert repr(endpoint) == f"<RunningEndpoint {endpoint.url}>"
    assert repr(endpoint).endswith(", stopped>")
    endpoint.stop()


def test_an_interrupt_stops_a_waiting_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[bool] = []

    @contextmanager
    def serving(model: Path, options: Any) -> Iterator[str]:
        yield "http://127.0.0.1:1"
        stopped.append(True)

    def interrupted(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("clearsight.workflow.serve.serving", serving)
    endpoint = clearsight.serve("bundle")
    monkeypatch.setattr(threading, "Event", lambda: SimpleNamespace(wait=lambda: interrupted(None)))
    endpoint.wait()
    assert stopped == [True]


def test_export_has_the_file_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert clearsight.export(make_bundle(tmp_path / "bundle").path) == Path("model.tar.gz")
    assert Path("model.tar.gz").is_file()


def test_profile_has_a_folder_of_its_own_and_is_quiet_where_nobody_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with clearsight.profile(every=0.1) as profiling:
        profiling.step(1)
    assert profiling.out == Path("runs/profile-1")
    assert capsys.readouterr().err == ""


def test_a_saved_tensor_is_drawn(tmp_path: Path) -> None:
    saved = clearsight.open_run(write_run(tmp_path / "run"))
    loss = saved.tensor("loss")
    assert list(loss.plot().data[0].x) == list(range(1, 61))
    assert repr(loss) == "<OpenedTensor loss: losses, 60 steps in train>"
    assert repr(saved).splitlines()[0] == f"Saved run {tmp_path / 'run'}"
    with pytest.raises(BadChoice, match="was not saved in it"):
        loss.plot(mode="predict")
    assert saved.plot("loss", by="step").data[0].x is not None
    with pytest.raises(BadChoice, match="the run has nothing of that name"):
        saved.plot("los")


def test_export_returns_a_path_or_a_form_with_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = GateFigures(
        images=9,
        source="photos",
        agreement=1,
        probability_difference=0,
        accuracy=1,
        torch_accuracy=1,
        max_accuracy_loss=0.01,
    )
    calls: list[dict[str, Any]] = []

    def export_to(model: Path, to: str, **options: Any) -> Export:
        calls.append({"model": model, "to": to, **options})
        return Export(name="onnx-int8", path=model / "model.int8.onnx", size=1 << 20, gate=figures)

    monkeypatch.setattr("clearsight.workflow.export.export_to", export_to)
    bundle = make_bundle(tmp_path / "bundle")
    assert clearsight.export(bundle, tmp_path / "net.onnx") == tmp_path / "net.onnx"
    exported = clearsight.export(bundle, to="onnx", quantize="int8", max_accuracy_loss=0.01, progress=False)
    assert (calls[0]["model"], calls[0]["quantize"], calls[0]["max_accuracy_loss"]) == (bundle.path, "int8", 0.01)
    assert exported.gate.accuracy_loss == 0
    assert "passed on 9 images" in repr(exported)
    with pytest.raises(BadValue, match="quantize: it is for --to"):
        clearsight.export(bundle, quantize="int8")  # type: ignore[call-overload]


def test_benchmark_returns_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = Benchmark(model="m", machine="x, 2 cores", rows=(), chosen="", recorded="", images=0)
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "clearsight.workflow.deployment.benchmark.benchmark",
        lambda model, **options: (calls.append(options), result)[1],
    )
    assert clearsight.benchmark(make_bundle(tmp_path / "bundle"), seconds=1, progress=False) is result
    assert (calls[0]["seconds"], calls[0]["trust"]) == (1, False)


def test_a_run_is_no_folder_for_a_new_profile() -> None:
    with pytest.raises(BadValue, match=r"profile\(int\).*folder of a new profile.*open_run"):
        clearsight.profile(5)  # type: ignore[arg-type]
