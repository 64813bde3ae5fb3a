"""Names of the files of a trial, relative to its folder.

    collections/000000000/worker_0_collections.json           what is recorded
    index/{step // 1000}/{step}_{worker}.json                 where the tensors of a step lie
    events/{step}/{step}_{worker}.tfevents                    the tensors
    training_job_end.ts                                       written when training has ended

Steps are global steps. A file that is being written ends in `.tmp`.
"""

from __future__ import annotations

import re

END_OF_TRAINING = "training_job_end.ts"
CLAIM = "claim.smd"
SAVED_STEPS = "saved_steps.json"
COLLECTIONS_FOLDER = "collections/000000000/"
INDEX_FOLDER = "index/"
STEPS_PER_INDEX_FOLDER = 1000
DEFAULT_WORKER = "worker_0"

_INDEX_FILE = re.compile(r"index/\d+/(\d+)_(.+)\.json")
_COLLECTIONS_FILE = re.compile(r"collections/\d+/(.+)_collections\.(?:json|ts)")


def collections_file(worker: str) -> str:
    return f"{COLLECTIONS_FOLDER}{worker}_collections.json"


def index_file(step: int, worker: str) -> str:
    return f"{INDEX_FOLDER}{step // STEPS_PER_INDEX_FOLDER:09d}/{step:012d}_{worker}.json"


def event_file(step: int, worker: str) -> str:
    return f"events/{step:012d}/{step:012d}_{worker}.tfevents"


def tensorboard_file(mode: str, step: int, worker: str) -> str:
    return f"{mode}/{step:012d}_{worker}.tfevents"


def parse_index_file(path: str) -> tuple[int, str] | None:
    """Return step and worker of an index file; None for any other file."""
    match = _INDEX_FILE.fullmatch(path)
    return (int(match[1]), match[2]) if match else None


def parse_collections_file(path: str) -> str | None:
    """Return the worker of a collections file; None for any other file."""
    match = _COLLECTIONS_FILE.fullmatch(path)
    return match[1] if match else None
