"""Server of a model for the time of a job, whose log has the lines of the model too."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from clearsight.core.files import write_text
from clearsight_sagemaker.hosting.model_server import ModelServer, model_server
from clearsight_sagemaker.training.failure import MOST_REASON, JobFailed, error_text
from clearsight_sagemaker.training.processes.job_context import JobContext
from clearsight_sagemaker.training.processes.namespaces import remove_work

_UNHEALTHY = "AlgorithmError: The primary container did not pass the ping health check: the model cannot be loaded.\n"


@contextmanager
def job_model(context: JobContext, model: Mapping[str, Any], check: Callable[[], None]) -> Iterator[ModelServer]:
    """Serve a model within the block. model: PrimaryContainer and EnableNetworkIsolation, as CreateModel has them.

    check: called often before the model is loaded; raises to give up.
    Raises JobFailed where the model cannot be loaded.
    """
    folder = context.folder.path / "model"
    _remove(context)
    folder.mkdir(mode=0o700)
    try:
        for name, values in (("request", model), ("service", _service_facts(context))):
            write_text(folder / f"{name}.json", json.dumps(values) + "\n", private=True)
        (folder / "log.txt").symlink_to(context.folder.log)
        with model_server(folder, context.user, check=check, support=context.support) as server:
            if server.problem:
                reason = error_text(server.problem.splitlines())
                raise JobFailed(_UNHEALTHY + reason[-(MOST_REASON - len(_UNHEALTHY)) :])
            yield server
    finally:
        _remove(context)


def _service_facts(context: JobContext) -> Any:
    return json.loads((context.folder.path / "service.json").read_text(encoding="utf-8"))


def _remove(context: JobContext) -> None:
    folder = context.folder.path / "model"
    remove_work(folder / "work")
    shutil.rmtree(folder, ignore_errors=True)
