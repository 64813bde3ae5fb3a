"""The watch beside our own loop: told once, acting once, and never in the way."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from clearsight.core.events import EpochRecord, StepRecord
from clearsight.core.finding import Finding, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.tensors import SaveSchedule
from clearsight.core.view import RunView
from clearsight.debugger.actions import Action, parse_action
from clearsight.debugger.capture.probe import Probe
from clearsight.debugger.live import LiveDebugger
from clearsight.debugger.storage.recorder import Recorder
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


class Heard:
    """What a watch told the outside."""

    def __init__(self) -> None:
        self.findings: list[str] = []
        self.stops: list[str] = []
        self.good = 0


def watch(folder: Path, heard: Heard, *actions: str) -> LiveDebugger:
    def keep(record: Any) -> None:
        made.keep(record)

    def rewind(step: int) -> Recorder:
        store = FileTensorStore(folder)
        store.rewind(step)
        return Recorder(store)

    def fine() -> None:
        heard.good += 1

    made = LiveDebugger(
        rules=[High()],
        actions=[parse_action(action) for action in actions],
        tape=Tape(),
        probe=Probe({"train": SaveSchedule(every=2)}, emit=keep),
        recorder=Recorder(FileTensorStore(folder)),
        tell=lambda finding: heard.findings.append(finding.rule),
        stop=heard.stops.append,
        good=fine,
        keep_facts=lambda: None,
        rewind=rewind,
        epochs=100,
    )
    return made


def epoch(made: LiveDebugger, number: int, loss: float) -> None:
    step = StepRecord(step=number, epoch=number, mode="train", scalars={"loss": loss})
    made.on_step(step)
    more = {"train": {}, "valid": {"loss": loss}, "images_per_second": 1.0, "data_share": 0.0, "seconds": 1.0}
    made.on_epoch(EpochRecord(epoch=number, epochs=100, step=number, lr=0.1, best=False, **more))  # type: ignore[arg-type]


def test_a_finding_is_told_once(tmp_path: Path) -> None:
    heard = Heard()
    made = watch(tmp_path, heard, "info=notify")
    for number, loss in enumerate((1.0, 3.0, 4.0, 1.0, 5.0), 1):
        epoch(made, number, loss)
    assert heard.findings == ["High"]
    assert heard.good == 2
    assert [finding.rule for finding in made.conclude()] == ["High"]


def test_stopping_is_asked_for_with_the_reason(tmp_path: Path) -> None:
    heard = Heard()
    made = watch(tmp_path, heard, "severe=stop")
    epoch(made, 1, 3.0)
    assert heard.stops == ["the debugger found High: high"]
    assert [(deed.rule, deed.action, deed.outcome) for deed in made.deeds] == [("High", "stop", "stopped")]
    made.conclude()


def test_an_adjustment_goes_back_and_is_asked_for_again_if_need_be(tmp_path: Path) -> None:
    heard = Heard()
    made = watch(tmp_path, heard, "adjust")
    epoch(made, 1, 1.0)
    epoch(made, 2, 3.0)
    assert made.wish is not None
    assert made.wish.changes == {"lr": 0.1}
    made.go_back(1, {"lr": 0.1})
    assert made.wish is None
    assert made.deeds[0].outcome == "went on from step 1"
    assert made.tape.done() == 1
    assert made.tape.facts.lr == 0.1
    epoch(made, 2, 3.0)
    assert made.wish is not None
    made.conclude()


def test_a_failing_rule_or_probe_never_reaches_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()
    made = watch(tmp_path, heard, "stop")
    monkeypatch.setattr(made.probe, "stepped", lambda: 1 / 0)
    assert made.stepped() == {}
    assert made.failure.startswith("ZeroDivisionError")
    epoch(made, 1, 3.0)
    assert heard.stops == []
    made.recorder.close()


def test_nothing_stays_on_the_model(tmp_path: Path) -> None:
    made = watch(tmp_path, Heard())
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with made.watching("all", model, optimizer):
        for step in (1, 2):
            optimizer.zero_grad()
            made.step(step, 1)
            logits = model(torch.ones(3, 4))
            made.answered(logits.detach(), torch.tensor([0, 1, 0]), None)
            logits.sum().backward()
            optimizer.step()
            assert "grad_norm" in made.stepped()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert [event.subject for event in made.tape.events("phase")] == ["all"]
    assert made.tape.names("gradients") == (
        "gradient/0.weight",
        "gradient/0.bias",
        "gradient/2.weight",
        "gradient/2.bias",
    )
    assert len(made.tape.outcomes()) == 6
    assert [layer.kind for layer in made.tape.facts.layers] == ["linear", "relu", "linear"]
    made.conclude()


class Behind(High):
    """A finding that stands behind another one."""

    severity = Severity.WARNING


class Before(High):
    """One that explains it."""

    explains = ("Behind",)


def test_an_action_for_a_rule_answers_it_in_whatever_group_it_stands(tmp_path: Path) -> None:
    heard = Heard()
    made = watch(tmp_path, heard, "warning=notify")
    made.rules = [Before(), Behind()]
    made.actions = [Action("stop", selector="Behind"), Action("notify")]
    epoch(made, 1, 3.0)
    assert heard.stops == ["the debugger found Behind: high"]
    assert [(deed.rule, deed.action) for deed in made.deeds] == [("Behind", "stop"), ("Before", "notify")]
    made.conclude()
