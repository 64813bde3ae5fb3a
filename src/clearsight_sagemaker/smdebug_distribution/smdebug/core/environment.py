"""Files and variables of a SageMaker job: the only place that reads them, besides the logger.

A notebook may carry any SM_* variable, with paths that do not exist. So a process is inside a job when the platform's
own variable TRAINING_JOB_NAME is set and a configuration file of the job is there.
"""

from __future__ import annotations

import json
import os
import socket
from typing import Any

HOOK_CONFIG = "/opt/ml/input/config/debughookconfig.json"
RESOURCE_CONFIG = "/opt/ml/input/config/resourceconfig.json"
TENSORBOARD_CONFIG = "/opt/ml/input/config/tensorboardoutputconfig.json"
CHECKPOINT_CONFIG = "/opt/ml/input/config/checkpointconfig.json"
PROFILER_CONFIG = "/opt/ml/input/config/profilerconfig.json"
TENSORS_FOLDER = "/opt/ml/output/tensors"
PROFILER_FOLDER = "/opt/ml/output/profiler"

_FALSE = ("false", "0", "no", "off", "n", "f")
_CHOICES = ("faithful", "lossless", "explicit")


def hook_config_path() -> str:
    """Return the file that configures the hook."""
    return os.environ.get("SMDEBUG_CONFIG_FILE_PATH", HOOK_CONFIG)


def is_in_job() -> bool:
    """Return True inside a training job."""
    files = (hook_config_path(), RESOURCE_CONFIG)
    return "TRAINING_JOB_NAME" in os.environ and any(os.path.isfile(path) for path in files)


def is_switched_off() -> bool:
    """Return True where USE_SMDEBUG is false."""
    return os.environ.get("USE_SMDEBUG", "true").lower() in _FALSE


def choices() -> frozenset[str]:
    """Return the words of CLEARSIGHT_SMDEBUG, separated by commas. Unknown words raise ValueError.

    `faithful` (default): what smdebug 1.0.34 records. `lossless`: every value of save_scalar and save_tensor is written
    at the step at which it was saved. `explicit`: modules and losses are recorded only where the script registers them.
    """
    words = frozenset(filter(None, os.environ.get("CLEARSIGHT_SMDEBUG", "").lower().replace(" ", "").split(",")))
    if not words <= set(_CHOICES):
        unknown = ", ".join(sorted(words - set(_CHOICES)))
        raise ValueError(f"CLEARSIGHT_SMDEBUG={unknown}: no such word. Allowed: {', '.join(_CHOICES)}.")
    return words


def tensorboard_folder() -> str | None:
    """Return the job's folder for TensorBoard files; None where it has none."""
    path = os.environ.get("TENSORBOARD_CONFIG_FILE_PATH", TENSORBOARD_CONFIG)
    folder = _read(path).get("LocalPath")
    return None if folder is None else str(folder)


def checkpoint_folder() -> str | None:
    """Return the job's folder for checkpoints; None where it has none."""
    folder = _read(os.environ.get("CHECKPOINT_CONFIG_FILE_PATH", CHECKPOINT_CONFIG)).get("LocalPath")
    return None if folder is None else str(folder)


def profiler_folder() -> str | None:
    """Return the folder for timelines; None where the job asks for no framework metrics."""
    config = _read(_profiler_config())
    parameters = config.get("ProfilingParameters") or {}
    if not parameters or str(config.get("DisableProfiler", False)).lower() == "true":
        return None
    return str(parameters.get("LocalPath") or PROFILER_FOLDER)


def profiler_config_time() -> int:
    """Return when the configuration of the profiler was changed, in nanoseconds of the epoch; 0 without one."""
    try:
        return os.stat(_profiler_config()).st_mtime_ns
    except OSError:
        return 0


def _profiler_config() -> str:
    return os.environ.get("SMPROFILER_CONFIG_PATH", PROFILER_CONFIG)


def node_name() -> str:
    """Return the name of this process among those of a job, such as `123-algo-1`."""
    host = _read(RESOURCE_CONFIG).get("current_host") or socket.gethostname()
    return f"{os.getpid()}-{host}".replace("_", "-")


def process_number() -> int:
    return os.getpid()


def run_folder(out_dir: str) -> str | None:
    """Return the folder of clearsight's recording beside the tensors; None where there is none to write.

    It is $CLEARSIGHT_RUN_FOLDER; inside a job, the folder `clearsight` next to the tensors.
    """
    folder = os.environ.get("CLEARSIGHT_RUN_FOLDER")
    if folder:
        return folder
    return os.path.join(os.path.dirname(os.path.abspath(out_dir)), "clearsight") if is_in_job() else None


def seconds_before_last_refresh() -> float:
    """Return how long a reader waits before it reads a finished training for the last time."""
    return float(os.environ.get("SMDEBUG_TRAINING_END_DELAY_REFRESH", "1"))


def region() -> str | None:
    """Return the region of the clients; None leaves it to boto3."""
    return os.environ.get("AWS_REGION") or None


def _read(path: str) -> dict[str, Any]:
    """Return the JSON object of a file, empty where there is none."""
    if not os.path.isfile(path):
        return {}
    with open(path, encoding="utf-8") as stream:
        content = json.load(stream)
    return content if isinstance(content, dict) else {}
