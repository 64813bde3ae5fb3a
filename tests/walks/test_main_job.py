"""The main job on real images: data, train, evaluate, predict, export and serve give the same predictions."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.walks.commands import CLEARSIGHT, json_of, run

MODEL = "timm/mobilenetv2_100"


@pytest.fixture(scope="module")
def trained(scenes: Path, real_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("runs") / "scenes"
    result = json_of("train", scenes, "-m", MODEL, "--weights", real_weights, "--freeze", "backbone", "--out", out)
    return out, result


def test_train_prints_its_result_as_json(trained: tuple[Path, dict[str, Any]]) -> None:
    out, result = trained
    assert set(result) == {
        *("run", "status", "reason", "best_epoch", "valid", "test", "seconds", "images_per_second", "findings"),
        *("calibration", "resolved", "failed_steps"),
    }
    assert [finding for finding in result["findings"] if finding["severity"] != "info"] == []
    assert (result["run"], result["status"]) == (str(out), "completed")
    for split in ("valid", "test"):
        assert set(result[split]) == {"loss", "accuracy", "macro_f1"}
    assert result["test"]["accuracy"] >= 0.84  # the goal is 0.86; with 240 images two points are noise


def test_the_run_folder_has_its_files(trained: tuple[Path, dict[str, Any]]) -> None:
    out, _ = trained
    names = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    saved = {name for name in names if name.startswith("tensors/")}
    assert {"tensors/facts.json", "tensors/index.jsonl", "tensors/000-000001.safetensors"} <= saved
    warned = {"findings.live.jsonl"}  # of a loaded machine, whose data arrive late, for example
    clear = {"checkpoints/good.safetensors", "checkpoints/good-best.safetensors"}  # of a run without a finding so far
    assert names - saved - warned - clear == {
        *(
            "run.json",
            "images.csv",
            "recipe.yaml",
            "log.txt",
            "metrics.jsonl",
            "findings.jsonl",
            "report.html",
            "report.json",
        ),
        *("profile/machine.json", "profile/gauges.jsonl", "profile/spans.jsonl"),
        *("checkpoints/newest.safetensors", "checkpoints/best.safetensors", "checkpoints/frozen.safetensors"),
        *("model/bundle.json", "model/model.safetensors", "model/model.onnx", "model/code/inference.py"),
        *("evaluation/predictions.csv", "evaluation/metrics.json"),
    }
    log = (out / "log.txt").read_text()
    assert "mean 0.5" in log
    assert "metadata" in log


def test_evaluate_reproduces_the_scores_of_training(
    trained: tuple[Path, dict[str, Any]], scenes: Path, tmp_path: Path
) -> None:
    out, result = trained
    measured = json_of("evaluate", out, scenes, "--out", tmp_path)
    assert {"accuracy", "top5", "macro_f1", "roc_auc", "ece", "n", "per_class", "confusion"} <= set(measured)
    assert measured["accuracy"] == result["test"]["accuracy"]
    assert measured["n"] == 240
    assert measured["roc_auc"] is None
    assert set(measured["per_class"]["sea"]) == {"precision", "recall", "f1", "support"}
    table = np.array(measured["confusion"]["matrix"])
    assert table.sum() == 240
    assert np.trace(table) / 240 == pytest.approx(measured["accuracy"])
    rows = list(csv.DictReader((tmp_path / "predictions.csv").read_text().splitlines()))
    assert np.mean([row["true"] == row["predicted"] for row in rows]) == pytest.approx(measured["accuracy"])


def test_evaluate_a_bare_folder_uses_all_of_it(trained: tuple[Path, dict[str, Any]], scenes: Path) -> None:
    measured = json_of("evaluate", trained[0], scenes / "seg_test")
    assert measured["n"] == 240
    assert measured["accuracy"] == trained[1]["test"]["accuracy"]


def test_predict_agrees_with_evaluate(trained: tuple[Path, dict[str, Any]], scenes: Path) -> None:
    predicted = json_of("predict", trained[0], scenes / "seg_test" / "sea")
    assert all(set(row) == {"path", "label", "probability", "top", "error"} for row in predicted)
    rows = list(csv.DictReader((trained[0] / "evaluation" / "predictions.csv").read_text().splitlines()))
    measured = {Path(row["path"]).name: row for row in rows if row["true"] == "sea"}
    assert len(predicted) == len(measured) == 40
    for row in predicted:
        other = measured[Path(row["path"]).name]
        assert row["label"] == other["predicted"]
        assert row["probability"] == pytest.approx(float(other["probability"]), abs=1e-5)
        assert sum(entry["probability"] for entry in row["top"]) <= 1 + 1e-9


def test_the_packed_bundle_serves_the_same_predictions(
    trained: tuple[Path, dict[str, Any]], scenes: Path, tmp_path: Path
) -> None:
    archive, image = tmp_path / "model.tar.gz", sorted((scenes / "seg_pred").iterdir())[0]
    run("export", trained[0], "--out", archive)
    (predicted,) = json_of("predict", trained[0], image)
    with subprocess.Popen(
        [*CLEARSIGHT, "serve", str(archive), "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            url = next(word for word in server.stdout.readline().split() if word.startswith("http://"))
            with urllib.request.urlopen(f"{url}/ping") as ping:
                assert ping.status == 200
            request = urllib.request.Request(
                f"{url}/invocations", data=image.read_bytes(), headers={"Content-Type": "image/jpeg"}
            )
            with urllib.request.urlopen(request) as response:
                served = json.load(response)
            maps = Path(f"/proc/{server.pid}/maps").read_text()
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait() == 0
            server.communicate()
    assert served["label"] == predicted["label"]
    assert served["probability"] == pytest.approx(predicted["probability"], abs=1e-6)
    assert set(served["probabilities"]) == {"buildings", "forest", "glacier", "mountain", "sea", "street"}
    assert "libtorch" not in maps, "the server process must not load torch"


def test_the_bundle_loads_in_torch_with_the_same_predictions(
    trained: tuple[Path, dict[str, Any]], scenes: Path
) -> None:
    import torch

    import clearsight
    from clearsight.data.geometry import prepare

    network = clearsight.load(trained[0])
    image = sorted((scenes / "seg_pred").iterdir())[0]
    with torch.inference_mode():
        logits = network.model(torch.from_numpy(prepare(image.read_bytes(), network.preprocess))[None])
    (predicted,) = json_of("predict", trained[0], image)
    assert int(logits.argmax()) == ["buildings", "forest", "glacier", "mountain", "sea", "street"].index(
        predicted["label"]
    )


def test_data_audits_without_training(scenes: Path, tmp_path: Path) -> None:
    result = json_of("data", scenes, "--html", tmp_path / "look.html")
    assert {"classes", "splits", "imbalance", "corrupt", "duplicates", "leaks", "warnings"} <= set(result)
    assert result["splits"]["test"] == dict.fromkeys(result["classes"], 40)
    assert result["corrupt"] == []
    assert "<html" in (tmp_path / "look.html").read_text()[:300]


def test_report_can_be_written_again(trained: tuple[Path, dict[str, Any]]) -> None:
    page = trained[0] / "report.html"
    before = page.read_bytes()
    page.unlink()
    assert run("report", trained[0]).stdout.strip() == str(page)
    assert page.read_bytes() == before
