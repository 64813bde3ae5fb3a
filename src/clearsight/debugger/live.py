"""Watch: the debugger beside our own training loop. It feeds the tape, lets the rules speak, and acts on what they say.

It is an observer for what comes out of a step and a watcher for the model itself. Whatever fails in here ends the
watching, is told once, and leaves the training alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from clearsight.core.events import EpochRecord, NullObserver, StepRecord, scalars_of
from clearsight.core.finding import Finding, Severity
from clearsight.core.judge import judge, root_findings
from clearsight.core.profile import Profile
from clearsight.core.rule import Rule
from clearsight.core.tensors import Event, Moment, SavedRecord, Scalars
from clearsight.debugger.actions import Action, adjustment, notify
from clearsight.debugger.capture.model_inspection import layer_facts, parameter_facts
from clearsight.debugger.capture.probe import Probe
from clearsight.debugger.storage.recorder import Recorder
from clearsight.debugger.storage.tape import Tape

log = logging.getLogger(__name__)
T = TypeVar("T")

_CHECKS = 20  # times in a run that the rules are asked, where nobody acts on their answer


@dataclass(frozen=True, kw_only=True)
class RequestedChange:
    """What the debugger wants done once the loop has stopped: "adjust" or "retry" with changes to the recipe."""

    verb: str
    finding: Finding
    changes: Mapping[str, Any]


@dataclass(kw_only=True)
class TakenAction:
    """An action that was taken: when, why, what it changed, and what came of it.

    before, after: validation accuracy when it was taken and at the end of the run, where a setting was changed.
    """

    step: int
    rule: str
    action: str
    changed: dict[str, Any] = field(default_factory=dict)
    outcome: str = ""
    before: float | None = None
    after: float | None = None


@dataclass(kw_only=True, eq=False)
class LiveDebugger(NullObserver):
    """The debugger of one run.

    tell: receives each root finding when it first speaks.  stop: asks the loop to end, with a reason.  good: called
    whenever the rules were asked and nothing is wrong.  keep_facts: writes the tape's facts.  rewind: drops what the
    store holds after a step, and gives a new recorder for what comes.  epochs: planned; with actions to take the rules
    are asked after each of them.  notice: run facts that go with a notice to a URL or a command.
    profile: what the machine did so far, for the rules about speed.
    """

    rules: Sequence[Rule]
    actions: Sequence[Action]
    tape: Tape
    probe: Probe
    recorder: Recorder
    tell: Callable[[Finding], None]
    stop: Callable[[str], None]
    good: Callable[[], None]
    keep_facts: Callable[[], None]
    rewind: Callable[[int], Recorder]
    epochs: int
    notice: Mapping[str, Any] = field(default_factory=dict)
    profile: Callable[[], Profile] = Profile
    wish: RequestedChange | None = None
    deeds: list[TakenAction] = field(default_factory=list)
    failure: str = ""
    vital = False
    _told: set[str] = field(default_factory=set)
    _done: set[tuple[Action, str]] = field(default_factory=set)

    def keep(self, record: SavedRecord) -> None:
        """Put what the probe saw on the tape and on the way to disk."""
        self.tape.add(record)
        self.recorder.add(record)

    # --- the loop's watcher ---------------------------------------------------------------------------------------

    @contextmanager
    def watching(self, phase: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        with ExitStack() as attached:
            self._safely(lambda: self._enter(attached, phase, model, optimizer), None)
            yield

    def step(self, step: int, epoch: int) -> None:
        self._safely(lambda: self.probe.step(step, epoch), None)

    def answered(self, logits: Any, labels: Any, indices: Any) -> None:
        self._safely(lambda: self.probe.answered(torch.as_tensor(logits), torch.as_tensor(labels), indices), None)

    def stepped(self) -> Mapping[str, float | Tensor]:
        nothing: Mapping[str, float | Tensor] = {}
        return self._safely(lambda: self.probe.stepped(), nothing)

    def evaluating(self, epoch: int, step: int) -> None:
        self._safely(lambda: self.probe.evaluating(epoch, step), None)

    # --- the run's observer ---------------------------------------------------------------------------------------

    def on_step(self, record: StepRecord) -> None:
        at = Moment(record.mode, record.step, record.epoch, record.step)
        self.tape.add(Scalars(at, scalars_of(record)))

    def on_epoch(self, record: EpochRecord) -> None:
        if record.valid:
            scores = {f"valid_{name}": value for name, value in record.valid.items()}
            self.tape.add(Scalars(Moment("eval", record.step, record.epoch, record.step), scores))
        rarely = max(1, self.epochs // _CHECKS)
        if self.actions or record.epoch % rarely == 0 or record.epoch == self.epochs:
            self._safely(lambda: self._check(record.step), None)

    def go_back(self, step: int, settings: Mapping[str, Any]) -> None:
        """The run goes on from an earlier step with other settings; what came after that step never was."""
        self._safely(lambda: self._go_back(step, settings), None)

    def conclude(self) -> list[Finding]:
        """The run is over: the last word of every rule. What was found stays to be read by `findings`."""
        return self._safely(self._conclude, [])

    # --- inside ---------------------------------------------------------------------------------------------------

    def _enter(self, attached: ExitStack, phase: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        attached.enter_context(self.probe.attach(model, optimizer))
        self.tape.facts = replace(
            self.tape.facts, layers=layer_facts(model), parameters=parameter_facts(model, optimizer)
        )
        self.keep_facts()
        done = self.tape.done()
        self.keep(Event(Moment("train", done, 0, done), "phase", phase, {}))

    def _go_back(self, step: int, settings: Mapping[str, Any]) -> None:
        assert self.wish is not None
        self.deeds[-1].outcome = f"went on from step {step}"
        self._told.discard(self.wish.finding.rule)
        self._done = {(action, rule) for action, rule in self._done if rule != self.wish.finding.rule}
        self.wish = None
        self.recorder.close()
        self.recorder = self.rewind(step)
        self.tape = self.tape.until(step)
        lr = settings.get("lr") or self.tape.facts.lr
        self.tape.facts = replace(self.tape.facts, lr=lr, settings={**self.tape.facts.settings, **settings})
        self.keep_facts()

    def _check(self, step: int) -> None:
        self.tape.profile = self.profile()
        found = [finding for finding in judge(self.rules, self.tape) if finding.found]
        causes = root_findings(found)
        pressing = [finding for finding in causes if finding.severity is not Severity.INFO]
        if not pressing:
            self.good()
        for finding in pressing:
            if finding.rule not in self._told:
                self._told.add(finding.rule)
                self.tell(finding)
        for action in self.actions:
            # Whoever names a rule means it, root of a group or not; a severity speaks of causes.
            for finding in found if action.by_rule else causes:
                if action.answers(finding) and (action, finding.rule) not in self._done:
                    self._done.add((action, finding.rule))
                    self._act(action, finding, step)

    def _act(self, action: Action, finding: Finding, step: int) -> None:
        deed = TakenAction(step=step, rule=finding.rule, action=action.verb)
        match action.verb:
            case "notify":
                deed.outcome = notify(action.argument, finding, self.notice) if action.argument else "told"
            case "stop" | "stop-trial":
                deed.outcome = "stopped"
                self.stop(f"the debugger found {finding.rule}: {finding.cause}")
            case "adjust" | "retry":
                self._ask_for(action.verb, finding, deed)
        self.deeds.append(deed)
        facts = {"action": deed.action, "changed": deed.changed, "outcome": deed.outcome}
        self.keep(Event(Moment("train", step, 0, step), "action", finding.rule, facts))
        log.info("%s at step %d: %s %s", deed.rule, step, deed.action, deed.outcome)

    def _ask_for(self, verb: str, finding: Finding, deed: TakenAction) -> None:
        changes = dict(finding.fix)
        if verb == "adjust":
            part = adjustment([finding])
            changes = part[1] if part else {}
        if not changes or self.wish is not None:
            deed.outcome = "another change came first" if changes else "nothing that can be changed in this way"
            return
        deed.changed, deed.outcome, deed.before = changes, "asked for", self._accuracy()
        self.wish = RequestedChange(verb=verb, finding=finding, changes=changes)
        self.stop(f"the debugger found {finding.rule}: {finding.cause}")

    def _conclude(self) -> list[Finding]:
        self.tape.ended, self.tape.profile = True, self.profile()
        for deed in self.deeds:
            deed.after = self._accuracy() if deed.changed else None
        self.recorder.close()
        return judge(self.rules, self.tape)

    def _accuracy(self) -> float | None:
        """Of the last validation; None without one."""
        values = self.tape.scalar("valid_accuracy", "eval").values
        return float(values[-1]) if len(values) else None

    def _safely(self, act: Callable[[], T], instead: T) -> T:
        if self.failure:
            return instead
        try:
            return act()
        except Exception as error:
            self.fail(error)
            self.probe.detach()
            return instead

    def fail(self, error: Exception) -> None:
        """Something in here failed: say so once, and leave the training alone from now on."""
        if not self.failure:
            self.failure = f"{type(error).__name__}: {error}"
            log.warning("the debugger failed and was left out: %s", self.failure, exc_info=error)
