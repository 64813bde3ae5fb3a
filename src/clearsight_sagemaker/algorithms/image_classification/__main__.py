"""`python -m clearsight_sagemaker.algorithms.image_classification`: the program of a training job of the algorithm.

It reads hyperparameters and channels below SAGEMAKER_BASE_DIR, trains, and leaves the model there. SIGTERM ends the
training after its batch; the best epoch so far is the model. The exit code is 2 for what the user can mend, and
output/failure says it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clearsight.core.errors import ClearsightError, WeightsUnavailable
from clearsight.core.events import RunStatus
from clearsight.core.files import read_json, unpack
from clearsight.core.run import Run
from clearsight.core.stop import StopKind, StopReason
from clearsight.workflow.paths import Paths
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.train import train
from clearsight_sagemaker.algorithms.image_classification.channel_images import ChannelImages
from clearsight_sagemaker.algorithms.image_classification.epoch_log import EpochLog, log_line
from clearsight_sagemaker.algorithms.image_classification.hyperparameters import AlgorithmHyperparameters
from clearsight_sagemaker.algorithms.image_classification.responses import write_class_count

_USER_ERROR = 2


def main() -> int:
    """Train, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m clearsight_sagemaker.algorithms.image_classification")
    parser.add_argument(
        "--manifests",
        type=json.loads,
        default={},
        metavar="JSON",
        help="augmented manifest of a channel, by its name: the file, the attribute of the image, that of the label",
    )
    arguments = parser.parse_args()
    ml = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        # In a thread, where clearsight leaves SIGTERM alone: its own handling of it leaves no model behind.
        with ThreadPoolExecutor(1) as thread:
            run = thread.submit(_train, ml, arguments.manifests, _paths(os.environ), stop).result()
    except ClearsightError as error:
        text = f"ClientError: {_sentence(error)}"
        (ml / "output" / "failure").write_text(text, encoding="utf-8")
        print(text, file=sys.stderr)
        return _USER_ERROR
    if run.status in (RunStatus.FAILED, RunStatus.DIVERGED):
        text = f"ClientError: the training ended: {run.reason}. Lower learning_rate."
        (ml / "output" / "failure").write_text(text, encoding="utf-8")
        return _USER_ERROR
    return 0


def _train(ml: Path, manifests: Mapping[str, Sequence[str]], paths: Paths, stop: threading.Event) -> Run:
    """Train on the channels, and put the model into its folder. Raises ClearsightError."""
    hyperparameters = AlgorithmHyperparameters.of(read_json(ml / "input" / "config" / "hyperparameters.json"))
    log_line(f"Final configuration: {json.dumps(hyperparameters.model_dump(mode='json'))}")
    recipe = hyperparameters.recipe(weights=_earlier_model(ml))
    for remark in hyperparameters.remarks():
        log_line(remark)
    if (ml / "input" / "config" / "checkpointconfig.json").is_file():
        log_line("CheckpointConfig has no effect here: a job that is started again begins anew.")
    data = ml / "output" / "images"
    channels = ChannelImages(folder=ml / "input" / "data", classes=hyperparameters.num_classes, manifests=manifests)
    counts = channels.write(data)
    if counts["train"] != hyperparameters.num_training_samples:
        expected = hyperparameters.num_training_samples
        log_line(f"num_training_samples={expected}: the channel train has {counts['train']} images.")
    launch = LaunchContext(
        observers=[EpochLog()],
        paths=paths,
        halt=lambda: StopReason(StopKind.FINDING, "the job was stopped") if stop.is_set() else None,
    )
    run = train(data, out=ml / "output" / "clearsight", recipe=recipe, launch=launch)
    shutil.rmtree(data)
    if run.has_bundle:
        shutil.copytree(run.bundle, ml / "model", dirs_exist_ok=True)
        write_class_count(ml / "model", hyperparameters.num_classes)
    return run


def _earlier_model(ml: Path) -> str:
    """Return the folder of the model in the channel `model`, "" without one. Raises ClearsightError."""
    archives = sorted((ml / "input" / "data" / "model").glob("*.tar.gz"))
    if not archives:
        return ""
    folder = ml / "output" / "earlier"
    unpack(archives[0], folder)
    log_line("Training goes on from the model of the channel model.")
    return str(folder)


def _paths(environment: Mapping[str, str]) -> Paths:
    """Return the paths of the user, whose folders of weights the job was told."""
    weights = [Path(part) for part in environment.get("CLEARSIGHT_JOB_WEIGHTS", "").split(os.pathsep) if part]
    paths = Paths.of(environment)
    return Paths(cache=paths.cache, weights=tuple(weights), torch_hub=paths.torch_hub, home=paths.home)


def _sentence(error: ClearsightError) -> str:
    if isinstance(error, WeightsUnavailable):
        return f"use_pretrained_model=1: {error.problem}. Put the file there, or set use_pretrained_model to 0."
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
