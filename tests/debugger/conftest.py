"""Run folders as training leaves them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.context import RunContext
from clearsight.core.tensors import SavedRecord, Scalars
from clearsight.debugger.hook import Hook
from clearsight.debugger.storage.tensor_store import FileTensorStore
from tests.debugger.records import at, event, predictions, raw, scalars, snapshot

LIVE: list[SavedRecord] = [
    record
    for step in range(1, 7)
    for record in (
        predictions(step),
        *([snapshot(step), raw(step)] if step % 2 == 0 else []),
        scalars(step, loss=1 / step, lr=0.1),
        *([Scalars(at(step, "eval"), {"valid_loss": 2 / step})] if step % 3 == 0 else []),
    )
] + [event(6)]


def write_metrics(path: Path, records: Sequence[SavedRecord]) -> None:
    """Append the scalars among the records to metrics.jsonl of the run folder."""
    path.mkdir(exist_ok=True)
    with (path / "metrics.jsonl").open("a", encoding="utf-8") as stream:
        for record in records:
            if isinstance(record, Scalars):
                moment = {"step": record.at.step, "epoch": record.at.epoch, "mode": record.at.mode}
                lines = ({**moment, "name": name, "value": value} for name, value in record.values.items())
                stream.writelines(json.dumps(line) + "\n" for line in lines)


def write_run(path: Path, records: Sequence[SavedRecord], *, ended: bool = True) -> None:
    """A run folder as a Hook leaves it: scalars in metrics.jsonl, the rest in the store."""
    write_metrics(path, records)
    store = FileTensorStore(path / "tensors")
    store.write_context(RunContext(steps=6, lr=0.1))
    store.append([record for record in records if not isinstance(record, Scalars)])
    store.finish() if ended else store.close()


MakeHook = Callable[..., Hook]


@pytest.fixture
def make_hook(tmp_path: Path) -> MakeHook:
    """A factory of quiet hooks without rules."""

    def make(**options: Any) -> Hook:
        return Hook(tmp_path / "run", **{"rules": "none", "quiet": True, **options})

    return make


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run of six training steps with two evaluations."""
    write_run(tmp_path / "run", LIVE)
    return tmp_path / "run"


@pytest.fixture(params=["tutorial", "script"])
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)
