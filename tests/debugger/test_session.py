"""CaptureSession: records go to the tape and to disk; a rewind drops them from both."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.core.context import RunContext
from clearsight.core.tensors import SaveSchedule
from clearsight.debugger.capture.save_plan import SavePlan
from clearsight.debugger.session import CaptureSession
from clearsight.debugger.storage.tape import Tape
from clearsight.debugger.storage.tensor_store import FileTensorStore
from tests.debugger.networks import hooks_on, network, sgd
from tests.debugger.records import plains, raw, snapshot

PLAN = SavePlan(schedules={"train": SaveSchedule(every=2)})


def test_records_reach_the_tape_and_the_disk(tmp_path: Path) -> None:
    session = CaptureSession(PLAN, Tape(), FileTensorStore(tmp_path))
    records = [snapshot(1), raw(1)]
    for record in records:
        session.add(record)
    session.close()
    session.close()
    assert plains(session.tape.records) == plains(records)
    assert plains(FileTensorStore(tmp_path).records()) == plains(records)


def test_a_tensor_over_the_limit_goes_to_disk_alone(tmp_path: Path) -> None:
    session = CaptureSession(PLAN, Tape(), FileTensorStore(tmp_path), tape_limit=raw(1).value.size - 1)
    session.add(raw(1))
    session.close()
    assert session.tape.records == []
    assert len(list(session.store.records())) == 1


def test_a_rewind_drops_what_came_after_the_step_and_recording_goes_on(tmp_path: Path) -> None:
    session = CaptureSession(PLAN, Tape(), FileTensorStore(tmp_path))
    for step in (1, 2, 3):
        session.add(snapshot(step))
    session.rewind(1)
    session.add(snapshot(2))
    session.close()
    expected = plains([snapshot(1), snapshot(2)])
    assert plains(session.tape.records) == expected
    assert plains(FileTensorStore(tmp_path).records()) == expected


def test_the_context_is_set_for_the_rules_and_on_disk(tmp_path: Path) -> None:
    session = CaptureSession(PLAN, Tape(), FileTensorStore(tmp_path))
    session.set_context(RunContext(lr=0.1))
    session.close()
    assert session.tape.context == FileTensorStore(tmp_path).read_context() == RunContext(lr=0.1)


def test_an_error_takes_the_probe_off_the_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    session = CaptureSession(PLAN, Tape(), FileTensorStore(tmp_path))
    model = network()
    optimizer = sgd(model)
    session.probe.attach(model, optimizer)
    session.guard.run(lambda: 1 / 0)
    assert hooks_on(model, optimizer) == 0
    assert caplog.text.count("the debugger failed and is off") == 1
    session.close()
