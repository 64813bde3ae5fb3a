"""Hook: two lines in anybody's training loop.

hook = Hook("runs/mine").watch(model, loss=criterion, optimizer=optimizer)
...                                 # the loop as it was
hook.close()
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from clearsight.core.context import RunContext
from clearsight.core.errors import BadChoice, BadValue, NotResumable
from clearsight.core.finding import Finding
from clearsight.core.guard import guarded
from clearsight.core.rule import Rule
from clearsight.core.tensors import COLLECTIONS, MODES, Mode, Moment, RawTensor, SavedRecord, Scalars
from clearsight.debugger.arguments import Losses, check_numbers, check_watched, losses_of, rules_of
from clearsight.debugger.capture.model_inspection import InspectedModel, describe_model
from clearsight.debugger.capture.predictions import BatchPredictions, as_tensor
from clearsight.debugger.capture.probe import Probe
from clearsight.debugger.capture.safe_hook import SafeHook
from clearsight.debugger.capture.save_plan import SavePlan, make_save_plan, parse_save_setting
from clearsight.debugger.capture.step_counter import StepCounter
from clearsight.debugger.capture.transfer import Arrays
from clearsight.debugger.storage.recorder import Recorder
from clearsight.debugger.storage.tape import Tape
from clearsight.debugger.storage.tensor_store import FileTensorStore

_ON_TAPE = 1 << 18  # elements: larger whole tensors are kept on disk alone


class Hook:
    """Saves what goes on in a training loop into the run folder `out`, and judges it at the end.

    save: "light" (scalars and sampled statistics), "full" (statistics of all elements), or a list of these and of
    whole tensors to keep, as in `parse_save`.  rules: "default", "all", "none", names, or Rule objects.
    steps, epochs: planned, 0 for not known.  classes: names.  save_every: steps between statistics.
    workers: "one" records in the process of rank 0 only, "all" in each.  mean, std: what the model's weights expect
    images in [0, 1] to be normalised by.  pretrained: whether its weights come from elsewhere.  quiet: print nothing.

    Steps are optimizer steps where an optimizer is watched, else forward passes in train mode; evaluation steps are
    forward passes in evaluation mode. A model that is trained in evaluation mode needs `set_mode("train")`.
    Losses that are functions are told by `record`.
    Wrong arguments raise at once. After `watch` nothing raises: an error of the debugger itself ends the debugging, is
    printed once and kept in `failure`.
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
        depth, wishes = parse_save_setting(save)
        self.rules = rules_of(rules)
        self.saving: SavePlan = make_save_plan(depth, steps, save_every, self.rules, wishes)
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
        self.failure: Exception | None = None
        self.findings: list[Finding] = []
        self._all, self._quiet = workers == "all", quiet
        self._probe: Probe | None = None
        self._recorder: Recorder | None = None
        self._store: FileTensorStore | None = None
        self._hooks = ExitStack()
        self._mode: Mode = "train"
        self._forced: Mode | None = None
        self._clock = StepCounter(self.tape.facts.steps_per_epoch)
        self._updating = self._answered = self._closed = False

    # Before and after

    def watch(self, model: nn.Module, loss: Losses = None, optimizer: torch.optim.Optimizer | None = None) -> Hook:
        """Begin to listen; returns the hook. loss: the loss module, several, or several by name.

        Raises BadValue for what is no module or optimizer, NotResumable where `out` holds a run already.
        """
        check_watched(model, optimizer)
        losses = losses_of(loss)
        if self._probe is not None:
            raise BadValue("watch", "the hook watches a model already", fix="Close it and make another.")
        rank = _rank()
        if rank and not self._all:
            self._closed = True
            return self
        self._claim(rank)
        self._store = FileTensorStore(self.out / "tensors", rank)
        self._recorder = Recorder(self._store, self.out / (f"metrics.{rank}.jsonl" if rank else "metrics.jsonl"))
        self._probe = Probe(
            self.saving.schedules,
            self.saving.depth,
            self.saving.keep,
            self._emit,
            planned_steps=self.tape.facts.steps,
            failed=self._fail,
        )
        self._listen(model, losses, optimizer)
        if rank == 0:
            self._say(*(f"saving   {line}" for line in self.saving.lines))
        atexit.register(self.close)
        return self

    def __enter__(self) -> Hook:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._finish("failed" if error is not None else "completed")

    def close(self) -> None:
        """Leave the model, write what is left, judge, and say what was found. May be called twice."""
        self._finish("completed")

    def _finish(self, status: str) -> None:
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        try:
            self._end_step_of_forward()
            self._unhook()
            if self._recorder is not None:
                self._recorder.close()
            if self._store is not None and self.failure is None:
                self._judge(self._store, status)
        except Exception as error:
            self._fail(error)

    def _judge(self, store: FileTensorStore, status: str) -> None:
        from clearsight.core.finding import findings_lines, read_findings, write_findings
        from clearsight.core.judge import judge

        self.tape.ended = True
        store.write_facts(self.tape.facts)
        store.finish(status)
        if store.rank == 0:
            self.findings = judge(self.rules, self.tape)
            own = {rule.name for rule in self.rules}  # the profiler's findings may lie there already
            kept = [finding for finding in read_findings(self.out / "findings.jsonl") if finding.rule not in own]
            write_findings(self.out / "findings.jsonl", [*self.findings, *kept])
            self._say(*findings_lines(self.findings))

    # What the loop may tell

    @property
    def step(self) -> int:
        """Training steps done."""
        return self._clock.done

    @property
    def replaying(self) -> bool:
        """Whether the forward pass under way is one of the debugger's own, which no other hook need count."""
        return self._probe is not None and self._probe.replaying

    @property
    def epoch(self) -> int:
        """The epoch, from 1. Set it where it cannot be inferred: an evaluation ends an epoch otherwise."""
        return self._clock.epoch

    @epoch.setter
    def epoch(self, number: int) -> None:
        self._clock.tell(number)

    def start_epoch(self, number: int) -> None:
        """Say that epoch `number`, from 1, begins."""
        self.epoch = number

    def set_mode(self, mode: Mode | None) -> None:
        """Say what comes next, "train", "eval" or "predict"; None goes back to asking the model. Raises BadChoice."""
        if mode is not None and mode not in MODES:
            raise BadChoice(f"set_mode({mode!r})", "there is no such mode", got=mode, allowed=MODES)
        self._forced = mode

    @guarded
    def record(
        self, *, loss: Any = None, logits: Any = None, labels: Any = None, indices: Any = None, name: str = "loss"
    ) -> None:
        """Tell the outcome of a forward pass, before its backward, where no loss module is watched.

        loss: a number.  logits: (N, C).  labels: (N,).  indices: (N,) places of the images in their split.
        """
        self._outcome(name, None if loss is None else as_tensor(loss), logits, labels, indices)

    @guarded
    def save_scalar(self, name: str, value: float | Tensor) -> None:
        """Keep a number of the current step at once, whatever is due."""
        self._send_scalars({name: value})

    @guarded
    def save_tensor(self, name: str, tensor: Any, collection: str = "tensors") -> None:
        """Keep a whole tensor of the current step at once, whatever is due. collection: of COLLECTIONS."""
        if self._probe is None:
            return
        at = self._moment()
        kept = collection if collection in COLLECTIONS else "tensors"
        value = as_tensor(tensor).clone()
        self._probe.outbox.send(lambda arrays: self._emit(RawTensor(at, name, kept, arrays[0])), [value])

    # Listening

    def _claim(self, rank: int) -> None:
        """Raise where another run is in the folder."""
        here = ("run.json", "metrics.jsonl", "tensors/index.jsonl")
        if not rank and any((self.out / name).exists() for name in here):
            raise NotResumable(str(self.out), "a run is there already", fix="Choose another folder.")

    def _listen(
        self, model: nn.Module, losses: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer | None
    ) -> None:
        assert self._probe is not None
        assert self._store is not None
        watched = InspectedModel.of(model, optimizer)
        self._model, self._optimizer, self._heard = watched.model, optimizer, watched.entry is not None
        self.tape.facts = describe_model(self.tape.facts, watched, list(losses.values()))
        self._store.write_facts(self.tape.facts)
        own = self._hooks
        if watched.entry is not None:
            own.callback(watched.entry.register_forward_pre_hook(SafeHook(self._enters)).remove)
        if optimizer is not None:
            own.callback(optimizer.register_step_pre_hook(SafeHook(self._before)).remove)
        self._probe.attach(model, optimizer)
        if optimizer is not None:
            own.callback(optimizer.register_step_post_hook(SafeHook(self._after)).remove)
        for name, module in losses.items():
            own.callback(module.register_forward_hook(SafeHook(partial(self._loss, name)), with_kwargs=True).remove)

    def _enters(self, *_: Any) -> None:
        if self.failure is not None:
            self._unhook()
        elif not torch.compiler.is_compiling() and not self.replaying:
            self._begin_pass()

    @guarded
    def _begin_pass(self) -> None:
        assert self._probe is not None
        self._mode = self._forced or ("train" if self._model.training else "eval")
        self._answered = False
        self._end_step_of_forward()
        if self._mode == "train":
            self._begin_step()
            return
        self._clock.abandon()  # forward passes that no optimizer step followed: the rest of an accumulation, say
        first = self._mode == "eval" and self._clock.evaluated()
        if first or self._probe.at.mode != self._mode:
            self._probe.evaluating(self._clock.epoch, self._clock.done, self._mode)

    def _begin_step(self) -> None:
        if self._probe is not None and not self._clock.open:
            step = self._clock.begin()
            self._probe.step(step, self._clock.epoch)

    def _end_step_of_forward(self) -> None:
        """Without an optimizer a step ends when the next forward pass begins."""
        if self._clock.open and self._optimizer is None:
            self._end_step()

    def _end_step(self) -> None:
        assert self._probe is not None
        scalars = self._probe.stepped()
        if self._optimizer is not None:
            scalars["lr"] = float(self._optimizer.param_groups[-1]["lr"])
        self._clock.end()
        if scalars:
            self._send_scalars(scalars)

    @guarded
    def _before(self, *_: Any) -> None:
        self._updating = True
        self._begin_step()

    @guarded
    def _after(self, *_: Any) -> None:
        if self._clock.open:
            self._end_step()
        self._updating = False

    @guarded
    def _loss(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any) -> None:
        if not isinstance(out, Tensor) or self.replaying:
            return
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        logits, labels = given if len(given) == 2 else (None, None)
        self._outcome(name, out.detach(), logits, labels, None)

    def _outcome(self, name: str, loss: Tensor | None, logits: Any, labels: Any, indices: Any) -> None:
        probe = self._probe
        if probe is None:
            return
        if not self._heard:
            self._begin_pass()
        scalars: dict[str, Tensor | float] = {}
        if loss is not None and loss.numel():
            scalars[name] = loss.float().mean()
        answers = None
        if logits is not None and labels is not None and not self._answered:
            answers = BatchPredictions.of(as_tensor(logits), as_tensor(labels))
        if answers is not None:
            self._answered = True
            scalars["accuracy"] = answers.accuracy()
            self._note_batch(len(answers.labels))
            probe.answered(logits, labels, indices)
        if loss is not None and loss.numel():
            probe.lost(loss, name)
        if scalars:
            self._send_scalars(scalars)

    def _note_batch(self, size: int) -> None:
        if not self.tape.facts.batch_size and self._mode == "train":
            self.tape.facts = replace(self.tape.facts, batch_size=size)

    # Records

    def _moment(self) -> Moment:
        assert self._probe is not None
        return self._probe.at

    def _send_scalars(self, scalars: Mapping[str, Tensor | float]) -> None:
        if self._probe is None:
            return
        at, names = self._moment(), tuple(scalars)
        values = [torch.as_tensor(value, dtype=torch.float64) for value in scalars.values()]

        def made(arrays: Arrays) -> None:
            self._emit(Scalars(at, {name: float(array) for name, array in zip(names, arrays, strict=True)}))

        self._probe.outbox.send(made, values)

    def _emit(self, record: SavedRecord) -> None:
        if not isinstance(record, RawTensor) or record.value.size <= _ON_TAPE:
            self.tape.add(record)
        if self._recorder is not None:
            self._recorder.add(record)

    # Failing

    def _fail(self, error: Exception) -> None:
        if self.failure is not None:
            return
        self.failure = error
        print(f"clearsight: the debugger failed and is off: {type(error).__name__}: {error}", file=sys.stderr)
        if not self._updating:  # the optimizer is going through its hooks: they are deaf now, and go later
            self._unhook()

    def _unhook(self) -> None:
        self._hooks.close()
        if self._probe is not None:
            self._probe.detach()

    def _say(self, *lines: str) -> None:
        if not self._quiet:
            print(*lines, sep="\n", file=sys.stderr)


def _rank() -> int:
    known = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if known else 0
