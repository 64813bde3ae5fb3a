"""Submissions from end to end, against the service of this machine: jobs train, and runs come back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import boto3
import pytest

from clearsight.cli import main
from clearsight.core.bundle import Bundle
from clearsight.core.run import Run
from clearsight_sagemaker.remote import place
from clearsight_sagemaker.state.home import ServiceHome

pytestmark = pytest.mark.usefixtures("account")
QUICK = ["--model", "tiny", "--image-size", "32", "--debug", "off", "--profile", "off", "--on", "sagemaker"]


@pytest.fixture
def photos(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for folder in sorted((scenes / "seg_train").iterdir())[:2]:
        (tmp_path / "photos" / folder.name).mkdir(parents=True)
        for image in sorted(folder.glob("*.jpg"))[:8]:
            shutil.copy(image, tmp_path / "photos" / folder.name)
    return tmp_path / "photos"


def test_a_training_comes_back_as_a_run(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", str(photos), *QUICK, "--epochs", "2", "--lr", "0.01", "--json"]
    assert main([*words, "--remote", "instance_type=ml.m5.large", "--remote", "job_name=dogs-1"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert (found["job"], found["status"]) == ("dogs-1", "Completed")
    assert "billing  you will be billed for 1 instance of ml.m5.large" in printed.err
    assert printed.err.index("billing") < printed.err.index("job      dogs-1")
    assert "clearsight valid_accuracy=" in printed.err, "the log is followed"
    run = Run.open(Path(found["run"]))
    assert (run.recipe.optim.lr, run.recipe.train.epochs, len(run.epochs())) == (0.01, 2, 2)
    assert Bundle.open(run.path).classes == tuple(sorted(folder.name for folder in photos.iterdir()))
    assert main(["sagemaker", "fetch", "dogs-1", "--out", "again"]) == 0
    assert Bundle.open(Path("again")).files == Bundle.open(run.path).files
    assert main(["sagemaker", "fetch", "dogs-1", "--out", "again"]) == 2, "a run is there already"
    assert main(["sagemaker", "fetch", "dogs-2"]) == 2
    assert "there is no training job and no tuning job of this name" in capsys.readouterr().err
    check_endpoint(run, next(photos.glob("*/*.jpg")), capsys)


def check_endpoint(run: Run, image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Deploy a run: its endpoint must answer as the run does here."""
    assert main(["deploy", str(run.path), "--name", "dogs", "--on", "sagemaker"]) == 0
    printed = capsys.readouterr().out
    assert "until you end it with: clearsight sagemaker delete-endpoint dogs" in printed
    runtime = boto3.client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName="dogs", ContentType="image/jpeg", Body=image.read_bytes())
    assert main(["predict", str(run.path), str(image), "--json"]) == 0
    [here] = json.loads(capsys.readouterr().out)
    there = json.loads(answer["Body"].read())
    assert (there["label"], there["probability"]) == (here["label"], pytest.approx(here["probability"], abs=1e-4))
    assert main(["sagemaker", "delete-endpoint", "dogs"]) == 0
    assert capsys.readouterr().out == "dogs: deleted endpoint, configuration, model\n"
    assert main(["sagemaker", "delete-endpoint", "cats"]) == 2


def test_a_job_that_fails_says_why(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for image in photos.glob("*/*.jpg"):
        image.write_bytes(b"no image")
    assert main(["train", str(photos), *QUICK, "--epochs", "1"]) == 1
    assert "failed: AlgorithmError" in capsys.readouterr().out
    assert not (photos.parent / "runs").exists()


def test_ctrl_c_leaves_the_job_running(
    photos: Path, account: ServiceHome, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place, "follow_training", interrupted)
        assert main(["train", str(photos), *QUICK, "--epochs", "500", "--remote", "job_name=long"]) == 130
    assert "end      clearsight sagemaker stop-job long" in capsys.readouterr().out
    client = boto3.client("sagemaker")
    assert client.describe_training_job(TrainingJobName="long")["TrainingJobStatus"] == "InProgress"
    assert main(["sagemaker", "stop-job", "long"]) == 0
    assert main(["sagemaker", "follow", "long"]) == 1, "it was stopped"
    assert client.describe_training_job(TrainingJobName="long")["TrainingJobStatus"] == "Stopped"


@pytest.mark.slow
def test_a_search_comes_back_as_the_run_of_its_best_trial(
    photos: Path, real_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrained = ["--model", "timm/mobilenetv2_100", "--weights", str(real_weights), "--freeze", "backbone"]
    space = ["--space", "lr=log(1e-4,1e-1)", "--space", "batch_size=[4,8]", "--trials", "2", "--parallel", "2"]
    assert main(["tune", str(photos), *QUICK, *pretrained, "--epochs", "1", *space, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["params"].keys() == {"lr", "batch_size"}
    run = Run.open(Path(found["run"]))
    assert repr(run.recipe.optim.lr) == found["params"]["lr"]
    assert str(run.recipe.train.batch_size) == found["params"]["batch_size"]
    assert main(["sagemaker", "fetch", found["job"], "--out", "again"]) == 0
    assert Run.open(Path("again")).recipe == run.recipe
    assert run.weights["file"].endswith(real_weights.name), "the file was uploaded"
    client = boto3.client("sagemaker")
    best = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=found["job"])["BestTrainingJob"]
    value = best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
    assert value == pytest.approx(run.scores["valid"]["accuracy"]), "the value is that of the weights in the model"
