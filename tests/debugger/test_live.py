"""LiveDebugger: announces a finding once, acts on it once, and never disturbs the loop."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch import nn

from clearsight.core.events import EpochRecord, StepRecord
from clearsight.core.finding import Finding, Resolution, Severity, finding_lines
from clearsight.core.resolution import ShownFindings
from clearsight.core.rule import Needs, Rule
from clearsight.core.tensors import SaveSchedule
from clearsight.core.view import RunView
from clearsight.debugger.actions import Action, ActionRunner, parse_action
from clearsight.debugger.capture.save_plan import SavePlan
from clearsight.debugger.live import LiveDebugger
from clearsight.debugger.session import CaptureSession
from clearsight.debugger.storage.tape import Tape
from clearsight.debugger.storage.tensor_store import FileTensorStore


class High(Rule):
    """Found when the last loss is above 2."""

    severity = Severity.SEVERE

    def needs(self) -> Needs:
        return Needs()

    def check(self, view: RunView) -> Iterable[Finding]:
        loss = view.scalar("loss").values
        if not len(loss) or loss[-1] <= 2:
            yield self.clear()
        else:
            yield self.found(value=loss[-1], threshold=2, steps=(1, len(loss)), cause="high", fix={"lr": 0.1})


class Calls:
    """Calls that a LiveDebugger made."""

    def __init__(self) -> None:
        self.findings: list[str] = []
        self.resolved: list[Finding] = []
        self.stops: list[str] = []
        self.all_clear = 0

    def count_all_clear(self) -> None:
        self.all_clear += 1


def debugger_of(folder: Path, calls: Calls, *actions: str) -> LiveDebugger:
    plan = SavePlan(schedules={"train": SaveSchedule(every=2)})
    return LiveDebugger(
        session=CaptureSession(plan, Tape(), FileTensorStore(folder)),
        rules=[High()],
        actions=ActionRunner([parse_action(action) for action in actions], calls.stops.append),
        announce=lambda finding: calls.findings.append(finding.rule),
        announce_resolved=calls.resolved.append,
        all_clear=calls.count_all_clear,
        epochs=100,
    )


def epoch(debugger: LiveDebugger, number: int, loss: float) -> None:
    """Report an epoch of one step."""
    debugger.on_step(StepRecord(step=number, epoch=number, mode="train", scalars={"loss": loss}))
    scores = {"train": {}, "valid": {"loss": loss}, "images_per_second": 1.0, "data_share": 0.0, "seconds": 1.0}
    record = EpochRecord(epoch=number, epochs=100, step=number, lr=0.1, best=False, **scores)  # type: ignore[arg-type]
    debugger.on_epoch(record)


def test_a_finding_that_is_gone_is_resolved_and_may_come_back(tmp_path: Path) -> None:
    calls = Calls()
    debugger = debugger_of(tmp_path, calls)
    debugger.epochs = 6  # asked after each
    for number, loss in enumerate((3.0, 4.0, 1.0), 1):
        epoch(debugger, number, loss)
    (resolved,) = calls.resolved
    why = "the rule has all its data and finds nothing now"
    assert resolved.resolved == Resolution(step=3, shown=1, cause="high", why=why)
    assert finding_lines(resolved) == [f"resolved High at step 3: {why}"]
    epoch(debugger, 4, 5.0)
    assert calls.findings == ["High", "High"]
    (last,) = debugger.conclude()
    assert (last.found, last.resolved) == (True, None)


def test_what_ends_with_the_run_is_resolved_in_its_last_verdict(tmp_path: Path) -> None:
    calls = Calls()
    debugger = debugger_of(tmp_path, calls)
    debugger.epochs = 20  # of 40, so that the last epoch below is not asked about
    epoch(debugger, 1, 3.0)
    debugger.on_step(StepRecord(step=2, epoch=2, mode="train", scalars={"loss": 1.0}))
    (last,) = debugger.conclude()
    assert (last.found, calls.resolved) == (False, [last])
    assert last.resolved is not None
    assert (last.resolved.step, last.resolved.shown) == (2, 1)


def test_what_was_shown_before_a_resume_is_resolved_too(tmp_path: Path) -> None:
    calls = Calls()
    debugger = debugger_of(tmp_path, calls)
    shown = High().found(value=3, threshold=2, steps=(1, 7), cause="high")
    debugger.shown, debugger.epochs = ShownFindings([shown]), 1
    epoch(debugger, 8, 1.0)
    assert [finding.resolved.shown for finding in calls.resolved if finding.resolved] == [7]


def test_a_finding_is_announced_once(tmp_path: Path) -> None:
    calls = Calls()
    debugger = debugger_of(tmp_path, calls, "info=notify")
    for number, loss in enumerate((1.0, 3.0, 4.0, 1.0, 5.0), 1):
        epoch(debugger, number, loss)
    assert calls.findings == ["High", "High"], "once each time that it comes up"
    assert len(calls.resolved) == 1
    assert calls.all_clear == 2
    assert [finding.rule for finding in debugger.conclude()] == ["High"]


def test_the_loop_is_stopped_with_the_reason(tmp_path: Path) -> None:
    calls = Calls()
    debugger = debugger_of(tmp_path, calls, "severe=stop")
    epoch(debugger, 1, 3.0)
    assert calls.stops == ["the debugger found High: high"]
    actions = [(record.rule, record.action, record.outcome) for record in debugger.actions.history]
    assert actions == [("High", "stop", "stopped")]
    debugger.conclude()


def test_an_adjustment_goes_back_and_is_requested_again_if_need_be(tmp_path: Path) -> None:
    debugger = debugger_of(tmp_path, Calls(), "adjust")
    epoch(debugger, 1, 1.0)
    epoch(debugger, 2, 3.0)
    assert debugger.actions.request is not None
    assert debugger.actions.request.changes == {"lr": 0.1}
    debugger.go_back(1, {"lr": 0.1})
    assert debugger.actions.request is None
    assert debugger.actions.history[0].outcome == "went on from step 1"
    assert debugger.session.tape.done() == 1
    assert debugger.session.tape.context.lr == 0.1
    epoch(debugger, 2, 3.0)
    assert debugger.actions.request is not None
    debugger.conclude()


def test_an_error_of_the_debugger_never_reaches_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Calls()
    debugger = debugger_of(tmp_path, calls, "stop")
    monkeypatch.setattr(debugger.session.probe, "end_step", lambda: 1 / 0)
    assert debugger.after_step() == {}
    assert debugger.guard.reason == "ZeroDivisionError: division by zero"
    epoch(debugger, 1, 3.0)
    assert calls.stops == []
    assert debugger.conclude() == []
    assert caplog.text.count("the debugger failed and is off: ZeroDivisionError") == 1


def test_nothing_stays_on_the_model(tmp_path: Path) -> None:
    debugger = debugger_of(tmp_path, Calls())
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with debugger.watching("all", model, optimizer):
        for step in (1, 2):
            optimizer.zero_grad()
            debugger.before_step(step, 1)
            logits = model(torch.ones(3, 4))
            debugger.after_forward(logits.detach(), torch.tensor([0, 1, 0]), None)
            logits.sum().backward()
            optimizer.step()
            assert "grad_norm" in debugger.after_step()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    tape = debugger.session.tape
    assert [event.subject for event in tape.events("phase")] == ["all"]
    assert tape.names("gradients") == tuple(f"gradient/{name}" for name, _ in model.named_parameters())
    assert len(tape.predictions()) == 6
    assert [layer.kind for layer in tape.context.layers] == ["linear", "relu", "linear"]
    assert debugger.session.store.read_context() == tape.context
    debugger.conclude()


class Symptom(High):
    """A finding that another one explains."""

    severity = Severity.WARNING


class Cause(High):
    """A finding that explains Symptom."""

    explains = ("Symptom",)


def test_an_action_on_a_rule_is_taken_even_where_another_finding_explains_it(tmp_path: Path) -> None:
    calls = Calls()
    debugger = debugger_of(tmp_path, calls)
    debugger.rules = [Cause(), Symptom()]
    debugger.actions = ActionRunner([Action("stop", selector="Symptom"), Action("notify")], calls.stops.append)
    epoch(debugger, 1, 3.0)
    assert calls.stops == ["the debugger found Symptom: high"]
    actions = [(record.rule, record.action) for record in debugger.actions.history]
    assert actions == [("Symptom", "stop"), ("Cause", "notify")]
    debugger.conclude()
