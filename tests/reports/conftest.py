"""A believable run and a believable dataset, as the data of their pages."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clearsight.core.recipe import Recipe
from clearsight.reports.kit.thumbnail import thumbnail
from clearsight.reports.run.report_data import RunReportData
from tests.reports import watched as by_hand

SCENES = ("buildings", "forest", "glacier", "mountain", "sea", "street")
SCENES_CONFUSED = (
    (35, 0, 0, 0, 0, 5),
    (0, 39, 0, 1, 0, 0),
    (0, 0, 31, 7, 2, 0),
    (0, 0, 4, 35, 1, 0),
    (0, 0, 1, 1, 38, 0),
    (4, 0, 0, 0, 0, 36),
)
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</script><b>",
    "{{ 7*7 }}",
    "%{x}",
    "a&lt;b",
)


def evaluated(labels: tuple[str, ...], matrix: Any, **more: Any) -> dict[str, Any]:
    """The shape of `evaluate --json` for a confusion matrix."""
    counts = np.array(matrix)
    hits, predicted, support = np.diag(counts), counts.sum(axis=0), counts.sum(axis=1)
    per_class = {
        name: {
            "precision": float(hits[i] / predicted[i]) if predicted[i] else 0.0,
            "recall": float(hits[i] / support[i]) if support[i] else 0.0,
            "f1": float(2 * hits[i] / (predicted[i] + support[i])) if predicted[i] + support[i] else 0.0,
            "support": int(support[i]),
        }
        for i, name in enumerate(labels)
    }
    return {
        "accuracy": float(hits.sum() / counts.sum()),
        "top5": 1.0,
        "macro_f1": float(np.mean([row["f1"] for row in per_class.values()])),
        "roc_auc": None,
        "ece": 0.031,
        "n": int(counts.sum()),
        "per_class": per_class,
        "confusion": {"labels": list(labels), "matrix": counts.tolist()},
        **more,
    }


def trained(epochs: int = 8, steps: int = 20, seed: int = 0) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(epochs, steps) of a good run: EpochRecords as mappings, rows of metrics.jsonl."""
    rng = np.random.default_rng(seed)
    total = epochs * steps
    rows: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    for step in range(1, total + 1):
        epoch = (step - 1) // steps + 1
        loss = 1.5 * np.exp(-3 * step / total) + 0.25 + rng.normal(0, 0.08)
        lr = 1e-3 * min(1.0, step / (0.05 * total)) * 0.5 * (1 + np.cos(np.pi * step / total))
        for name, value in (("loss", loss), ("lr", lr)):
            rows.append({"step": step, "epoch": epoch, "mode": "train", "name": name, "value": float(value)})
        if step % steps == 0:
            share = epoch / epochs
            train = {
                "loss": float(1.4 * np.exp(-2.6 * share) + 0.25),
                "accuracy": float(0.95 - 0.4 * np.exp(-3 * share)),
            }
            valid = {
                "loss": float(1.2 * np.exp(-2.6 * share) + 0.34),
                "accuracy": float(0.885 - 0.3 * np.exp(-3 * share)),
                "macro_f1": float(0.88 - 0.3 * np.exp(-3 * share)),
            }
            rows.append({"step": step, "epoch": epoch, "mode": "eval", "name": "valid_loss", "value": valid["loss"]})
            records.append(
                {
                    "epoch": epoch,
                    "epochs": epochs,
                    "step": step,
                    "lr": float(lr),
                    "train": train,
                    "valid": valid,
                    "images_per_second": 184.2 + epoch,
                    "data_share": 0.04,
                    "seconds": 3.4,
                    "best": epoch == epochs - 1,
                }
            )
    return records, rows


@dataclass
class Opened:
    """A page in a browser. messages: of its console and errors.  requests: addresses that it asked for."""

    page: Any
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Opened]]:
    """Open HTML in Chromium: `opened(html, color_scheme="dark")`."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])

        def load(html: str, **options: Any) -> Opened:
            file = tmp_path_factory.mktemp("page") / "page.html"
            file.write_text(html, encoding="utf-8")

            def dismiss(dialog: Any) -> None:
                seen.messages.append(dialog.message)
                dialog.dismiss()  # an open dialog would block the page

            seen = Opened(browser.new_context(viewport={"width": 1280, "height": 900}, **options).new_page())
            seen.page.on("console", lambda message: seen.messages.append(message.text))
            seen.page.on("pageerror", lambda error: seen.messages.append(str(error)))
            seen.page.on("dialog", dismiss)
            seen.page.on("request", lambda request: seen.requests.append(request.url))
            seen.page.goto(file.as_uri(), wait_until="load")  # not earlier: the network is idle before scripts end
            seen.page.wait_for_load_state("networkidle")
            seen.requests = [url for url in seen.requests if url != file.as_uri() and not url.startswith("data:")]
            return seen

        yield load
        browser.close()


@pytest.fixture(scope="session")
def scenes(shared: Path) -> list[tuple[str, str]]:
    """(path inside the dataset, thumbnail) of a dozen real test images, two of each class."""
    root = shared / "data" / "intel-scenes"
    files = [file for name in SCENES for file in sorted((root / "seg_test" / name).iterdir())[:2]]
    return [(str(f.relative_to(root)), thumbnail(np.asarray(Image.open(f).convert("RGB")))) for f in files]


@pytest.fixture(scope="session")
def report(scenes: list[tuple[str, str]]) -> RunReportData:
    """A finished run on intel-scenes."""
    epochs, steps = trained()
    recipe = Recipe().replace(model="timm/mobilenetv2_100", freeze="backbone", epochs=8, augment="standard")
    bins = ((0.45, 0.5, 6), (0.55, 0.45, 11), (0.65, 0.6, 15), (0.75, 0.78, 23), (0.86, 0.83, 41), (0.97, 0.97, 144))
    return RunReportData(
        name="scenes-frozen",
        status="completed",
        recipe=recipe.to_yaml(),
        seed=0,
        data={
            "path": "data/intel-scenes",
            "format": "folders",
            "fingerprint": "9c1185a5c5e9fc54612808977ee8f548b2258d31" + "0" * 24,
            "classes": list(SCENES),
            "counts": {
                "train": dict.fromkeys(SCENES, 102),
                "valid": dict.fromkeys(SCENES, 18),
                "test": dict.fromkeys(SCENES, 40),
                "predict": {"": 60},
            },
        },
        versions={"clearsight": "0.1.0", "python": "3.11.4", "torch": "2.11.0", "timm": "1.0.12"},
        hardware={"cpu": "2 cores", "memory": "24 GiB", "device": "cpu", "gpus": []},
        command=["clearsight", "train", "data/intel-scenes", "--freeze", "backbone", "--epochs", "8"],
        seconds=31.2,
        images_per_second=188.0,
        best_epoch=7,
        epochs=epochs,
        steps=steps,
        evaluation=evaluated(SCENES, SCENES_CONFUSED),
        reliability=[{"confidence": c, "accuracy": a, "count": n} for c, a, n in bins],
        mistakes=[
            {
                "id": path,
                "true": path.split("/")[1],
                "predicted": SCENES[(SCENES.index(path.split("/")[1]) + 1) % 6],
                "probability": 0.99 - i / 40,
                "thumbnail": uri,
            }
            for i, (path, uri) in enumerate(scenes)
        ],
        notices=[
            {
                "code": "bad-image",
                "text": "2 images cannot be decoded and were left out.",
                "paths": ["seg_train/sea/1.jpg", "seg_train/sea/2.jpg"],
            },
        ],
    )


@pytest.fixture(scope="session")
def watched(report: RunReportData, scenes: list[tuple[str, str]]) -> RunReportData:
    """The same run with debugger and profiler, and everything else that a page can show."""
    return replace(
        report,
        steps=[*report.steps, *by_hand.grad_norms(report.steps)],
        typical=[{**image, "predicted": image["true"]} for image in report.mistakes],
        samples=[{"id": path, "label": path.split("/")[1], "thumbnail": uri} for path, uri in scenes],
        findings=by_hand.findings(),
        rules=by_hand.rules(),
        actions=by_hand.ACTIONS,
        profile=by_hand.slow_profile(),
        what_if=by_hand.WHAT_IF,
        tuning=by_hand.TUNING,
        hotlines=by_hand.HOTLINES,
    )


@pytest.fixture(scope="session")
def external() -> RunReportData:
    """An external training loop: a profile, findings, a command, and nothing else."""
    return RunReportData(
        name="train.py",
        status="completed",
        command=["clearsight", "profile", "--", "python", "train.py"],
        seconds=61.0,
        profile=by_hand.busy_gpus(),
        findings=[finding for finding in by_hand.findings() if finding.rule in ("DataWait", "BatchSize")],
        external=True,
    )


@pytest.fixture(scope="session")
def hostile(watched: RunReportData) -> RunReportData:
    """The same run with a name in every place that tries to break out of it."""
    names = HOSTILE
    images = [
        {"id": "'onerror='x", "true": names[0], "predicted": names[1], "probability": 0.9, "thumbnail": uri}
        for uri in ("https://example.com/x.png", "javascript:alert(7)", 'data:image/png;base64,"onerror="alert(8)')
    ]
    return replace(
        watched,
        name="<script>alert(3)</script>",
        reason="<i>",
        command=["clearsight", "train", "</pre><script>alert(4)</script>"],
        recipe="model: '<script>alert(5)</script>'\n",
        data={
            "path": "<svg onload=alert(6)>",
            "classes": list(names),
            "counts": {"<u>": dict.fromkeys(names, 9)},
        },
        evaluation=evaluated(names, SCENES_CONFUSED),
        mistakes=images,
        typical=images[:1],
        samples=[{"id": names[0], "label": names[2], "thumbnail": "javascript:alert(9)"}],
        findings=by_hand.hostile_findings(names),
        rules=[{"name": names[0], "parameters": {names[2]: names[1]}, "topic": names[3]}],
        actions=[{"step": 3, "rule": names[0], "action": names[1], "changed": {"lr": names[2]}, "outcome": names[4]}],
        profile=by_hand.hostile_profile(names),
        hotlines=[{"where": names[0], "share": 0.5}],
        what_if=[{"name": names[1], "change": names[2], "basis": names[0]}],
        tuning={"chosen": {"workers": names[0]}, "rows": [{"settings": {"workers": names[0]}}], "why": names[1]},
        notices=[{"code": "<b>", "text": names[0], "paths": [names[1]]}],
    )


@pytest.fixture(scope="session")
def audit(scenes: list[tuple[str, str]]) -> dict[str, Any]:
    """An audit of intel-scenes, with some faults, as JSON."""
    paths = [path for path, _ in scenes]
    return {
        "classes": list(SCENES),
        "splits": {
            "train": {name: 120 - 15 * i for i, name in enumerate(SCENES)},
            "test": dict.fromkeys(SCENES, 40),
            "predict": {"": 60},
        },
        "imbalance": 120 / 45,
        "input_size": 224,
        "short_sides": [
            {"low": 64, "high": 96, "count": 3},
            {"low": 96, "high": 128, "count": 9},
            {"low": 128, "high": 160, "count": 783},
            {"low": 2048, "high": None, "count": 1},
        ],
        "common_sizes": [{"width": 150, "height": 150, "count": 780}, {"width": 150, "height": 110, "count": 6}],
        "formats": {"JPEG": 795, "PNG": 1},
        "small": ["a"] * 795,
        "rotated": [paths[0]],
        "corrupt": [{"path": "seg_train/sea/9.jpg", "reason": "the file is truncated after 1,024 bytes"}],
        "duplicates": [paths[:3]],
        "near_duplicates": [paths[3:5]],
        "leaks": [{"paths": paths[5:7], "splits": ["train", "test"], "exact": False}],
        "conflicts": [paths[7:9]],
        "warnings": [
            {"code": "leak", "text": "1 image of a later split occurs in an earlier one too (test in train: 1)."},
            {"code": "imbalance", "text": 'Class "buildings" has 120 images to train on, "street" has 45.'},
        ],
    }
