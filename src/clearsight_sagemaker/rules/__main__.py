"""`python -m clearsight_sagemaker.rules JOB_FOLDER`: judges the rules of a job, as the process of the job starts it.

Its input is a line of JSON (`RuleProcess` writes it) and, when the script of the job has ended, the line `finish`; it
ends at once where its input ends before. Its output is what `RuleReporter` writes.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from contextlib import closing
from pathlib import Path

from clearsight_sagemaker.rules.custom_rule import RuleEnvironment
from clearsight_sagemaker.rules.rule_session import RuleSession
from clearsight_sagemaker.rules.rule_status import RuleReporter
from clearsight_sagemaker.training.job_folder import JobFolder
from clearsight_sagemaker.training.remote_objects import objects_of

_NICENESS = 5  # the script of the job comes first
_ABANDONED = 3  # exit code where the process of the job has ended


def main() -> None:
    """Judge the rules of the job."""
    folder = JobFolder(Path(sys.argv[1]))
    values = json.loads(sys.stdin.readline())
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no report
    logging.getLogger("clearsight").setLevel(logging.ERROR)
    os.nice(_NICENESS)
    tensors = Path(values["tensors"])
    environment = RuleEnvironment(
        work=folder.work / "rules",
        tensors=tensors,
        python=folder.python / "bin" / "python",
        variables=values["variables"],
        way=values["way"],
        no_network=values["no_network"],
    )
    end = threading.Event()
    threading.Thread(target=_follow, args=(end,), name="input", daemon=True).start()
    with closing(objects_of(folder.read_service(), folder)) as objects:
        run = tensors.parent / "clearsight"
        session = RuleSession(folder, environment, run, objects, RuleReporter(output))
        with closing(session):
            session.watch(end)
            session.finish()


def _follow(end: threading.Event) -> None:
    """Set the event when the job's script has ended; end this process where that of the job has."""
    if sys.stdin.readline().strip() != "finish":
        os._exit(_ABANDONED)  # custom rules end with this process
    end.set()


if __name__ == "__main__":
    main()
