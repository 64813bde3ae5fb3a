"""Script of a training job: trains the submitted recipe, and leaves the run where the job uploads it.

recipe.yaml and job.json are beside it. A tuning job passes the settings that it varies as hyperparameters.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent


def main() -> int:
    """Train; return the exit code."""
    if subprocess.run([sys.executable, str(FOLDER / "install_clearsight.py")], check=False).returncode:
        print("clearsight cannot be installed; the lines above say why", file=sys.stderr)
        return 1
    importlib.invalidate_caches()
    from clearsight.core.errors import ClearsightError
    from clearsight.core.events import RunStatus

    try:
        run = train(json.loads((FOLDER / "job.json").read_text(encoding="utf-8")))
    except ClearsightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if run.status in (RunStatus.DIVERGED, RunStatus.FAILED) else 0


def train(job: dict[str, Any]) -> Any:
    """Train the recipe of a job, or continue its run after an interruption; return the run."""
    from clearsight.core.run import Run
    from clearsight.workflow import train as verbs
    from clearsight.workflow.display.terminal import Terminal, TrainingView
    from clearsight.workflow.messages import end_lines
    from clearsight.workflow.paths import Paths
    from clearsight.workflow.run.context import LaunchContext

    output = Path(os.environ["SM_OUTPUT_DATA_DIR"])
    container = output.parents[1]  # /opt/ml
    # By the name of the job: those of a tuning job may share a folder of checkpoints.
    checkpoints = container / "checkpoints" / os.environ["TRAINING_JOB_NAME"]
    out = (checkpoints if job["checkpoints"] else output) / "run"
    terminal = Terminal(as_json=False)
    launch = LaunchContext(
        observers=[TrainingView(terminal), metric_lines(job["metric"])],
        paths=Paths.of(os.environ),
        progress=terminal.progress,
        command=["clearsight", "train"],
        trusted=None,  # what the recipe names was checked on the machine that submitted it
    )
    data = data_path(job, container)
    if Run.exists(out):
        run = verbs.resume(out, data=data, launch=launch)
    else:
        run = verbs.train(data, out=out, recipe=recipe(job), launch=launch)
    terminal.print(*end_lines(run))
    if job["metric"] and (value := (run.scores.get("valid") or {}).get(job["metric"])) is not None:
        # Last, since a tuning job compares last values: that of the epoch whose weights are the model.
        print(metric_line(job["metric"], value), flush=True)
    deliver(run, output)
    return run


def recipe(job: dict[str, Any]) -> Any:
    """Return the recipe of the job, with the settings that a tuning job varies."""
    from clearsight.core.recipe import Recipe
    from clearsight.core.space import settings_of

    loaded = Recipe.load(FOLDER / "recipe.yaml")
    if job["weights"]:
        loaded = loaded.replace(weights=str(Path(os.environ["SM_CHANNEL_WEIGHTS"]) / job["weights"]))
    return loaded.replace(**settings_of(json.loads(os.environ["SM_HPS"])))


def data_path(job: dict[str, Any], container: Path) -> Path:
    """Return the path of the dataset; what was submitted as an archive is unpacked."""
    channel = Path(os.environ["SM_CHANNEL_DATA"])
    if job["archive"]:
        from clearsight.core.files import unpack

        folder = container / "data"
        if not folder.exists():
            part = container / "data.part"
            shutil.rmtree(part, ignore_errors=True)
            unpack(channel / job["archive"], part, max_bytes=1 << 44, max_files=10**8)
            part.rename(folder)
        os.chdir(folder)  # paths of the recipe, such as image_folder, are relative to it
        return folder / str(job["data"])
    if job["data"]:
        return channel / str(job["data"])
    entries = [entry for entry in channel.iterdir() if not entry.name.startswith(".")]
    return entries[0] if len(entries) == 1 and entries[0].is_file() else channel


def metric_lines(metric: str) -> Any:
    """Return an observer that prints the metric after each epoch, as the metric definition of the job reads it."""
    from clearsight.core.events import EpochRecord, NullObserver

    class MetricLines(NullObserver):
        def on_epoch(self, record: EpochRecord) -> None:
            if metric in record.valid:
                print(metric_line(metric, record.valid[metric]), flush=True)

    return MetricLines()


def metric_line(metric: str, value: float) -> str:
    """Return the line of a value of a metric."""
    return f"clearsight valid_{metric}={value!r}"


def deliver(run: Any, output: Path) -> None:
    """Put the bundle where model.tar.gz is made of it, and the run where output.tar.gz is."""
    if run.has_bundle:
        shutil.copytree(run.bundle, os.environ["SM_MODEL_DIR"], dirs_exist_ok=True)
    target = output / "run"
    if run.path != target:
        shutil.copytree(run.path, target, ignore=shutil.ignore_patterns("checkpoints", "model", "*.lock"))
        return
    for folder in (run.checkpoints, run.bundle):
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
