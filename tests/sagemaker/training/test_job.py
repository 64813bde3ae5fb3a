"""A job runs a script with the toolkit's contract, from its data to its artifacts, and says how it ended."""

from __future__ import annotations

import json
from pathlib import Path

from tests.sagemaker.training.conftest import JobRun


def test_a_script_gets_data_hyperparameters_and_folders_and_its_model_is_uploaded(private_job: JobRun) -> None:
    job = private_job
    job.put("data/train/cat/1.png", b"cat")
    job.put("data/train/dog/2.png", b"dog")
    job.channel("train", "s3://photos/data/train")
    job.request["HyperParameters"] |= {"epochs": "3", "model-type": '"resnet18"', "wandb": "true"}
    job.code(
        "import os, sys, json, pathlib\n"
        "train = pathlib.Path(os.environ['SM_CHANNEL_TRAIN'])\n"
        "print(sys.argv[1:], os.getcwd(), train)\n"
        "pathlib.Path('/opt/ml/model/labels.json').write_text(json.dumps(sorted(p.name for p in train.iterdir())))\n"
        "pathlib.Path(os.environ['SM_OUTPUT_DATA_DIR'], 'scores.txt').write_text(os.environ['SM_HP_MODEL-TYPE'])\n"
    )
    assert job.run() == "Completed"
    assert job.statuses == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    arguments = ["--epochs", "3", "--model-type", "resnet18", "--wandb", "True"]
    assert f"{arguments} /opt/ml/code /opt/ml/input/data/train" in job.log
    assert job.archive("job-1/output/model.tar.gz") == {"labels.json": b'["cat", "dog"]'}
    assert job.archive("job-1/output/output.tar.gz") == {"scores.txt": b"resnet18"}
    [artifacts] = [event for event in job.events if event["kind"] == "artifacts"]
    assert artifacts["model"] == "s3://photos/job-1/output/model.tar.gz"
    assert job.events[-1] == {**job.events[-1], "kind": "finished", "status": "Completed"}
    assert not Path("/opt/ml").exists()
    assert not (job.folder / "work").exists()


def test_a_failing_script_is_the_reason_of_a_failed_job(job: JobRun) -> None:
    job.request["HyperParameters"] |= {"epochs": "3"}
    job.code("def train():\n    raise ValueError('no images in train')\ntrain()\n")
    assert job.run() == "Failed"
    assert job.reason.startswith('AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "Traceback')
    assert 'ValueError: no images in train"\nCommand "python train.py --epochs 3", exit code: 1' in job.reason
    assert job.statuses[-1] == "Failed"
    assert json.loads((job.folder / "events.jsonl").read_text().splitlines()[-1])["status"] == "Failed"
