"""LiveDebugger: the debugger of our own training loop. It records the training, asks the rules, and acts on findings.

To the loop it is an observer of numbers and a watcher of the model. An error inside ends the debugging, is logged once,
and leaves the training alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from clearsight.core.events import EpochRecord, NullObserver, StepRecord, scalars_of
from clearsight.core.finding import Finding, Severity
from clearsight.core.guard import Guard, guarded
from clearsight.core.judge import judge, root_findings
from clearsight.core.profile import Profile
from clearsight.core.resolution import ShownFindings
from clearsight.core.rule import Rule
from clearsight.core.tensors import Event, Moment, Scalars
from clearsight.debugger.actions import ActionRunner
from clearsight.debugger.capture.model_inspection import layer_infos, parameter_infos
from clearsight.debugger.session import CaptureSession

_CHECKS = 20  # times in a run that the rules are asked where no action waits for them: each time costs up to seconds


@dataclass(kw_only=True, eq=False)
class LiveDebugger(NullObserver):
    """The debugger of one run.

    announce: receives each root finding when it first comes up.  announce_resolved: receives the verdict of a rule
    that no longer finds what was announced.  shown: what was announced so far, also before the run was resumed.
    all_clear: called whenever the rules were asked and
    nothing is wrong.  epochs: planned; with actions the rules are asked after each of them.  profile: what the machine
    did so far, for the rules about speed.
    """

    session: CaptureSession
    rules: Sequence[Rule]
    actions: ActionRunner
    announce: Callable[[Finding], None]
    all_clear: Callable[[], None]
    epochs: int
    profile: Callable[[], Profile] = Profile
    vital = False
    announce_resolved: Callable[[Finding], None] = lambda finding: None
    shown: ShownFindings = field(default_factory=ShownFindings)
    _announced: set[str] = field(default_factory=set)  # rules, by this process

    @property
    def guard(self) -> Guard:
        """The guard of the session; its `reason` says why the debugging ended early."""
        return self.session.guard

    # The loop's watcher

    @contextmanager
    def watching(self, phase: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        with ExitStack() as attached:
            self.guard.run(self._enter, attached, phase, model, optimizer)
            yield

    @guarded
    def before_step(self, step: int, epoch: int) -> None:
        self.session.probe.begin_step(step, epoch)

    @guarded
    def after_forward(self, logits: Any, labels: Any, indices: Any) -> None:
        self.session.probe.record_predictions(logits, labels, indices)

    def after_step(self) -> Mapping[str, float | Tensor]:
        return self.guard.run_or({}, self.session.probe.end_step)

    @guarded
    def before_validation(self, epoch: int, step: int) -> None:
        self.session.probe.begin_evaluation(epoch, step)

    # The run's observer

    def on_step(self, record: StepRecord) -> None:
        # Scalars go to the tape alone: the run's MetricsLog writes them.
        at = Moment(record.mode, record.step, record.epoch, record.step)
        self.session.tape.add(Scalars(at, scalars_of(record)))

    def on_epoch(self, record: EpochRecord) -> None:
        if record.valid:
            scores = {f"valid_{name}": value for name, value in record.valid.items()}
            self.session.tape.add(Scalars(Moment("eval", record.step, record.epoch, record.step), scores))
        interval = max(1, self.epochs // _CHECKS)
        if self.actions.actions or record.epoch % interval == 0 or record.epoch == self.epochs:
            self.guard.run(self._check, record.step)

    @guarded
    def go_back(self, step: int, settings: Mapping[str, Any]) -> None:
        """Take up the run at an earlier step with the changed settings; what came after that step is dropped."""
        request = self.actions.request
        assert request is not None
        self._announced.discard(request.finding.rule)
        self.actions.complete_request(f"went on from step {step}")
        self.session.rewind(step)
        context = self.session.tape.context
        lr = settings.get("lr") or context.lr
        self.session.set_context(replace(context, lr=lr, settings={**context.settings, **settings}))

    def conclude(self) -> list[Finding]:
        """Return the last verdict of every rule on the run, which is over."""
        self.guard.finish(self.session.close)  # after a failure too: what was recorded until then is written
        return self.guard.run_or([], self._conclude)

    # Inside

    def _enter(self, attached: ExitStack, phase: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        session = self.session
        attached.enter_context(session.probe.attach(model, optimizer))
        layers, parameters = layer_infos(model), parameter_infos(model, optimizer)
        session.set_context(replace(session.tape.context, layers=layers, parameters=parameters))
        self._add_event("phase", phase, session.tape.done(), {})

    def _check(self, step: int) -> None:
        tape = self.session.tape
        tape.profile = self.profile()
        judged = judge(self.rules, tape)
        self._announce_resolved(judged)
        found = [finding for finding in judged if finding.found]
        causes = root_findings(found)
        problems = [finding for finding in causes if finding.severity is not Severity.INFO]
        if not problems:
            self.all_clear()
        for finding in problems:
            if finding.rule not in self._announced:
                self._announced.add(finding.rule)
                self.shown.show(finding, step)
                self.announce(finding)
        for record in self.actions.run(found, causes, step, accuracy=self._accuracy()):
            details = {"action": record.action, "changed": record.changed, "outcome": record.outcome}
            self._add_event("action", record.rule, record.step, details)

    def _conclude(self) -> list[Finding]:
        tape = self.session.tape
        tape.ended, tape.profile = True, self.profile()
        self.actions.conclude(self._accuracy())
        judged = judge(self.rules, tape)
        self._announce_resolved(judged)
        return self.shown.attach(judged)

    def _announce_resolved(self, judged: Sequence[Finding]) -> None:
        for finding in self.shown.resolve(judged, self.session.tape.done()):
            self._announced.discard(finding.rule)  # it may come back
            self.announce_resolved(finding)

    def _add_event(self, kind: str, subject: str, step: int, details: Mapping[str, Any]) -> None:
        self.session.add(Event(Moment("train", step, 0, step), kind, subject, details))

    def _accuracy(self) -> float | None:
        """Return the last validation accuracy; None without one."""
        values = self.session.tape.scalar("valid_accuracy", "eval").values
        return float(values[-1]) if len(values) else None
