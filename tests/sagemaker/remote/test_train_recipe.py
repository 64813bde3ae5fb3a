"""The script of a training job, in this process: where it finds its data, and how it goes on after an interruption."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from clearsight.core.events import RunStatus
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight_sagemaker.remote.container import train_recipe


@pytest.fixture
def container(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder /opt/ml of a job, with digits in its channel and a recipe beside the script."""
    container = tmp_path / "ml"
    shutil.copytree(digits, container / "input" / "data" / "data" / "digits")
    for folder in ("model", "output/data", "checkpoints"):
        (container / folder).mkdir(parents=True)
    monkeypatch.setattr(train_recipe, "FOLDER", tmp_path)
    monkeypatch.setenv("SM_OUTPUT_DATA_DIR", str(container / "output" / "data"))
    monkeypatch.setenv("SM_MODEL_DIR", str(container / "model"))
    monkeypatch.setenv("SM_CHANNEL_DATA", str(container / "input" / "data" / "data"))
    monkeypatch.setenv("SM_HPS", json.dumps({"lr": 0.01}))
    monkeypatch.setenv("TRAINING_JOB_NAME", "digits-1")
    return container


JOB = {"data": "digits", "archive": "", "weights": "", "metric": "accuracy", "checkpoints": True}


def test_an_interrupted_job_goes_on_from_its_checkpoints(
    container: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(metric: str, value: float) -> str:
        if Run.open(container / "checkpoints" / "digits-1" / "run").status is RunStatus.RUNNING:
            signal.raise_signal(signal.SIGTERM)  # as SageMaker ends a container
        return ""

    quick = {"model": "tiny", "image_size": 16, "epochs": 3, "limit": 60, "debug": "off", "profile": "off"}
    Recipe().replace(**quick).write(tmp_path / "recipe.yaml")
    with monkeypatch.context() as patch:
        patch.setattr(train_recipe, "metric_line", interrupt)
        first = train_recipe.train(JOB)
    assert (first.status.value, len(first.epochs())) == ("interrupted", 1)
    # Another instance: what was uploaded as checkpoints is there, and nothing else.
    shutil.rmtree(container / "output")
    (container / "output" / "data").mkdir(parents=True)
    run = train_recipe.train(JOB)
    assert (run.started, len(run.epochs())) == (first.started, 3)
    assert run.recipe.optim.lr == 0.01, "a hyperparameter of the job overrides the recipe"
    assert run.path == container / "checkpoints" / "digits-1" / "run"
    assert Run.open(container / "output" / "data" / "run").started == run.started
    assert not (container / "output" / "data" / "run" / "checkpoints").exists()


def test_paths_of_data(container: Path) -> None:
    channel = Path(os.environ["SM_CHANNEL_DATA"])
    assert train_recipe.data_path(JOB, container) == channel / "digits"
    of_s3 = {**JOB, "data": ""}
    assert train_recipe.data_path(of_s3, container) == channel, "objects with a common prefix"
    shutil.rmtree(channel / "digits")
    (channel / "photos.zip").touch()
    assert train_recipe.data_path(of_s3, container) == channel / "photos.zip", "one object"
