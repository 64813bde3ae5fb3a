"""Hook: the debugger in somebody else's training loop, by two lines.

hook = Hook("runs/mine").watch(model, loss=criterion, optimizer=optimizer)
...                                 # the loop as it was
hook.close()
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from clearsight.core.context import RunContext
from clearsight.core.errors import BadChoice, BadValue, NotResumable
from clearsight.core.files import write_json
from clearsight.core.finding import Finding, findings_lines, read_findings, write_findings
from clearsight.core.folder_lock import folder_lock
from clearsight.core.guard import Guard, guarded
from clearsight.core.judge import judge
from clearsight.core.machine import process_identity
from clearsight.core.rule import Rule
from clearsight.core.run import RunFolder
from clearsight.core.safe_text import printable
from clearsight.core.tensors import COLLECTIONS, MODES, Mode
from clearsight.debugger.capture.predictions import as_tensor
from clearsight.debugger.capture.save_plan import SavePlan, make_save_plan, parse_save_setting
from clearsight.debugger.external_loop import ExternalLoop
from clearsight.debugger.rule_parser import select_rules
from clearsight.debugger.session import CaptureSession
from clearsight.debugger.step_counter import StepCounter
from clearsight.debugger.storage.tape import Tape
from clearsight.debugger.storage.tensor_store import FileTensorStore

Losses = nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module] | None

_STATUSES: dict[type[BaseException], str] = {KeyboardInterrupt: "interrupted"}  # of scripts that an error has ended
_TAPE_LIMIT = 1 << 18  # elements, 1 MB of float32: larger whole tensors would fill the memory of the training process


class Hook:
    """Saves what happens in a training loop into the run folder `out`, and judges it at the end.

    save: "light" (scalars and sampled statistics), "full" (statistics of all elements), or a list of these and of
    whole tensors, as in `parse_save`.  rules: "default", "all", "none", names, or Rule objects.
    steps, epochs: planned, 0 for not known.  classes: names.  save_every: steps between statistics.
    workers: "one" records in the process of rank 0 only, "all" in each.  mean, std: normalisation of images in [0, 1]
    that the model's weights expect.  pretrained: True for weights from elsewhere.  quiet: print nothing.

    Steps are optimizer steps, of the optimizer that is passed or of the first that steps with parameters of the model;
    without any they are forward passes that train. Whether a forward pass trains or evaluates follows from its
    DataLoader, the mode of the model, the gradient mode and whether a backward comes; `set_mode` overrules that. A loss
    that no function of torch computes is that of its backward, and its labels are those that the DataLoader returned;
    `record` reports what neither shows.
    Wrong arguments raise at once. After `watch` nothing raises: an error of the debugger itself ends the debugging, is
    printed once and stays in `failure`.
    """

    def __init__(
        self,
        out: Path | str,
        *,
        save: str | Sequence[str] = "light",
        rules: str | Sequence[str | Rule] = "default",
        steps: int = 0,
        epochs: int = 0,
        classes: Sequence[str] = (),
        batch_size: int = 0,
        save_every: int | None = None,
        workers: Literal["one", "all"] = "one",
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        pretrained: bool | None = None,
        quiet: bool = False,
    ) -> None:
        self.out = Path(out)
        check_numbers(workers, save_every, steps=steps, epochs=epochs, batch_size=batch_size)
        depth, requests = parse_save_setting(save)
        self.rules = rules_of(rules)
        self.saving: SavePlan = make_save_plan(depth, steps, save_every, self.rules, requests)
        self.tape = Tape(
            RunContext(
                steps=steps,
                epochs=epochs,
                steps_per_epoch=steps // epochs if epochs else 0,
                batch_size=batch_size,
                classes=tuple(classes),
                pretrained=pretrained,
                weights_mean=tuple(map(float, mean)),
                weights_std=tuple(map(float, std)),
            )
        )
        self.guard = Guard("the debugger", report=_report, on_failure=self._release)
        self.findings: list[Finding] = []
        self._every_rank, self._quiet = workers == "all", quiet
        self._counter = StepCounter(self.tape.context.steps_per_epoch)
        self._held = ExitStack()  # the lock of the folder, from `watch` to the end
        self._session: CaptureSession | None = None
        self._loop: ExternalLoop | None = None
        self._closed = False

    # Before and after

    def watch(self, model: nn.Module, loss: Losses = None, optimizer: torch.optim.Optimizer | None = None) -> Hook:
        """Attach to the model; returns the hook. loss: the loss module, several, or several by name.

        Raises BadValue for what is no module or optimizer, NotResumable where `out` holds a run already.
        """
        if not isinstance(model, nn.Module):
            raise BadValue(f"watch({type(model).__name__})", "the model must be a torch.nn.Module")
        if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
            raise BadValue(f"watch(optimizer={type(optimizer).__name__})", "it must be a torch.optim.Optimizer")
        # accelerate wraps the optimizer in one that runs no hooks.
        inner = getattr(optimizer, "optimizer", None)
        optimizer = inner if isinstance(inner, torch.optim.Optimizer) else optimizer
        losses = losses_of(loss)
        if self._session is not None:
            raise BadValue("watch", "the hook watches a model already", fix="Close it and make another.")
        rank = _rank()
        if rank and not self._every_rank:
            self._closed = True  # the same script runs on every rank: there the hook does nothing
            return self
        files = RunFolder(self.out)
        if not rank and any(path.exists() for path in (files.state, files.metrics(), files.tensors / "index.jsonl")):
            raise NotResumable(str(self.out), "a run is there already", fix="Choose another folder.")
        self.out.mkdir(parents=True, exist_ok=True)
        if not rank:
            self._held.enter_context(folder_lock(files.lock, "run"))
        if not rank:
            write_json(files.process, process_identity())  # after kill -9 nobody else says that the loop is over
        store, metrics = FileTensorStore(files.tensors, rank), files.metrics(rank)
        self._session = CaptureSession(
            self.saving, self.tape, store, metrics=metrics, tape_limit=_TAPE_LIMIT, guard=self.guard
        )
        self._loop = ExternalLoop(self._session, self._counter, model, losses, optimizer)
        if rank == 0:
            self._print(*(f"saving   {line}" for line in self.saving.lines))
        # Scripts end without `close`, by an error or by Ctrl-C: what was recorded must reach the disk all the same.
        atexit.register(self._close_at_exit)
        return self

    def __enter__(self) -> Hook:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._finish("failed" if error is not None else "completed")

    def close(self) -> None:
        """Leave the model, write what is left, judge, and print the findings. May be called twice."""
        self._finish("completed")

    def _close_at_exit(self) -> None:
        error = getattr(sys, "last_value", None)  # that ended the script
        self._finish(_STATUSES.get(type(error), "failed") if error is not None else "completed")

    def _finish(self, status: str) -> None:
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self._close_at_exit)
        if self._loop is not None:
            self.guard.run(self._loop.conclude)
            self.guard.finish(self._loop.remove)
        if self._session is not None:
            self.guard.finish(self._session.close)
            self.guard.run(self._judge, self._session, status)
        self._held.close()

    def _judge(self, session: CaptureSession, status: str) -> None:
        self.tape.ended = True
        session.store.write_context(self.tape.context)  # again: the batch size is only known now
        session.store.finish(status)
        if session.store.rank == 0:
            self.findings = judge(self.rules, self.tape)
            path, names = RunFolder(self.out).findings, {rule.name for rule in self.rules}
            # The profiler may have written its findings into the same file.
            others = [finding for finding in read_findings(path) if finding.rule not in names]
            write_findings(path, [*self.findings, *others])
            self._print(*findings_lines(self.findings), f"next     clearsight report {self.out}")

    # State of the loop

    @property
    def failure(self) -> Exception | None:
        """The error that ended the debugging; None while it goes on."""
        return self.guard.failure

    @property
    def step(self) -> int:
        """Training steps done."""
        return self._counter.done

    @property
    def replaying(self) -> bool:
        """True while the debugger computes a forward pass of its own, which no other hook must count."""
        return self._session is not None and self._session.probe.replay.active

    @property
    def epoch(self) -> int:
        """The epoch, from 1. Set it where it cannot be derived: otherwise an evaluation ends an epoch."""
        return self._counter.epoch

    @epoch.setter
    def epoch(self, number: int) -> None:
        self._counter.set_epoch(number)

    def start_epoch(self, number: int) -> None:
        """Begin epoch `number`, from 1."""
        self.epoch = number

    def set_mode(self, mode: Mode | None) -> None:
        """Set the mode of what comes next; None asks the model again. Raises BadChoice."""
        if mode is not None and mode not in MODES:
            raise BadChoice(f"set_mode({mode!r})", "there is no such mode", got=mode, allowed=MODES)
        self._counter.forced_mode = mode

    # Values that the loop reports

    @guarded
    def record(
        self, *, loss: Any = None, logits: Any = None, labels: Any = None, indices: Any = None, name: str = "loss"
    ) -> None:
        """Record the outcome of a forward pass, before its backward, where no loss module is watched.

        loss: a number.  logits: (N, C).  labels: (N,).  indices: (N,) places of the images in their split.
        """
        if self._loop is not None:
            self._loop.report(None if loss is None else as_tensor(loss), logits, labels, indices, name)

    @guarded
    def save_scalar(self, name: str, value: float | Tensor) -> None:
        """Save a number of the current step at once, whatever is due."""
        if self._session is not None:
            probe = self._session.probe
            probe.sender.scalars(probe.at, {name: value})

    @guarded
    def save_tensor(self, name: str, tensor: Any, collection: str = "tensors") -> None:
        """Save a whole tensor of the current step at once, whatever is due. collection: of COLLECTIONS."""
        if self._session is not None:
            probe = self._session.probe
            known = collection if collection in COLLECTIONS else "tensors"
            # A copy: the loop may change the tensor in place while it is on its way.
            probe.sender.tensor(probe.at, known, name, as_tensor(tensor).clone())

    def _release(self, error: Exception) -> None:
        if self._loop is not None:
            self._loop.release()

    def _print(self, *lines: str) -> None:
        if not self._quiet:
            print(*map(printable, lines), sep="\n", file=sys.stderr)


def _report(sentence: str) -> None:
    # Printed, also with `quiet`: scripts of others rarely set up logging, and a silent failure looks like a clean run.
    print(f"clearsight: {printable(sentence)}", file=sys.stderr)


def _rank() -> int:
    is_distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if is_distributed else 0


def check_numbers(workers: str, save_every: int | None, **planned: int) -> None:
    """Raise BadChoice or BadValue for a number below its range or an unknown choice of workers."""
    if workers not in ("one", "all"):
        raise BadChoice(f"workers {workers!r}", "there is no such choice", got=workers, allowed=("one", "all"))
    for name, number in planned.items():
        if number < 0:
            raise BadValue(f"{name} {number}", "must be 0 (not known) or more")
    if save_every is not None and save_every < 1:
        raise BadValue(f"save_every {save_every}", "must be 1 or more")


def rules_of(rules: str | Sequence[str | Rule]) -> list[Rule]:
    """Return rules by their names; Rule objects are returned as they are."""
    if isinstance(rules, str):
        return select_rules(rules)
    named = select_rules("none", [rule for rule in rules if isinstance(rule, str)])
    return [*named, *(rule for rule in rules if isinstance(rule, Rule))]


def losses_of(loss: Losses) -> dict[str, nn.Module]:
    """Return loss modules by name, by default "loss", "loss_1" and so on. Raises BadValue for a function."""
    if loss is None:
        return {}
    if isinstance(loss, Mapping):
        named = dict(loss)
    else:
        # The first keeps the plain name, under which rules look for the loss.
        listed = list(loss) if isinstance(loss, Sequence) else [loss]
        named = {f"loss_{place}" if place else "loss": module for place, module in enumerate(listed)}
    for module in named.values():
        if not isinstance(module, nn.Module):
            raise BadValue(
                f"watch(loss={getattr(module, '__name__', module)})",
                "a watched loss must be a torch.nn.Module",
                fix="Report the value of a loss function with hook.record(loss=..., logits=..., labels=...).",
            )
    return named
