"""A process in the place of a job: it writes events and log lines and does nothing else.

    python fake_job.py JOB_FOLDER

The hyperparameter or variable `script` says what happens: complete, fail, wait (until the stop file appears), die
(without a word), score (the loss of an epoch is that of the hyperparameter `x`, a little more in early epochs), silent
(no metric).
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import IO, Any

POLL_SECONDS = 0.02


class Writer:
    """Events and lines of a job. pause: seconds between two events."""

    def __init__(self, folder: Path, pause: float) -> None:
        self._events: IO[str] = (folder / "events.jsonl").open("a", buffering=1)
        self._log: IO[str] = (folder / "log.txt").open("a", buffering=1)
        self._pause = pause

    def event(self, kind: str, **values: Any) -> None:
        self._events.write(json.dumps({"time": time.time(), "kind": kind, **values}) + "\n")

    def status(self, secondary: str, message: str) -> None:
        self.event("status", secondary=secondary, message=message)
        time.sleep(self._pause)

    def line(self, text: str) -> None:
        self._log.write(f"{int(1000 * time.time())} {text}\n")


def main(folder: Path) -> int:
    request = json.loads((folder / "request.json").read_text())
    settings = request.get("HyperParameters") or request.get("Environment") or {}
    script = settings.get("script", "complete").strip('"')
    writer = Writer(folder, float(settings.get("pause", "0")))
    writer.status("Downloading", "Downloading input data")
    writer.status("Training", "Training image download completed. Training in progress.")
    if script == "score":
        return score(folder, request, writer)
    for epoch in range(0 if script == "silent" else 3):
        writer.line(f"epoch {epoch} loss={1 / (epoch + 1):.3f}")
        writer.event("metric", name="loss", value=1 / (epoch + 1))
    if script == "die":
        writer.line("about to die")
        os.kill(os.getpid(), 9)
    if script == "wait":
        while folder.exists() and not (folder / "stop").exists():  # without its folder nobody could end it
            time.sleep(POLL_SECONDS)
    if script == "fail":
        writer.event("failed", reason="AlgorithmError: ExecuteUserScriptError:\nExitCode 1", exit_code=1)
        writer.event("finished", status="Failed")
        return 1
    writer.status("Uploading", "Uploading generated training model")
    if "OutputDataConfig" in request:
        output = request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        writer.event("artifacts", model=f"{output}/{request['TrainingJobName']}/output/model.tar.gz")
    elif "ProcessingJobName" in request:
        writer.event("exit_message", text="3 epochs")
    for rule in request.get("DebugRuleConfigurations", []):
        writer.event(
            "rule", configuration=rule["RuleConfigurationName"], status="NoIssuesFound", details="", profiler=False
        )
    is_stopped = script == "wait"
    writer.event("finished", status="Stopped" if is_stopped else "Completed")
    return 0


def score(folder: Path, request: dict[str, Any], writer: Writer) -> int:
    """Write the loss of each epoch, x + 1 / (epoch + 1), until the last one or the stop file.

    A job whose x is more than the setting `endless_above` has no last one.
    """
    settings = request["HyperParameters"]
    is_stopped = False
    is_endless = float(settings["x"]) > float(settings.get("endless_above", "inf"))
    for epoch in itertools.count() if is_endless else range(int(settings.get("epochs", "3"))):
        value = float(settings["x"]) + 1 / (epoch + 1)
        writer.event("metric", name="loss", value=value)
        writer.line(f"epoch {epoch} loss={value!r}")
        if is_stopped := (folder / "stop").exists() or not folder.exists():  # nobody could end it then
            break
        time.sleep(float(settings.get("pause", "0")))
    writer.event("finished", status="Stopped" if is_stopped else "Completed")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
