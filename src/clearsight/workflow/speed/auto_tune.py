"""auto_tune: the settings that decide how fast a run is, chosen by measuring before it begins.

What is learned must not depend on it, but for two things that are told: arithmetic in bfloat16 where that is faster,
and a larger batch where it pays, with the learning rate moved along. What somebody has said is never changed.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from clearsight.core.files import read_json
from clearsight.core.machine import cores
from clearsight.workflow.prepare.datasets import loader_workers
from clearsight.workflow.prepare.image_batches import memory_for_pixels
from clearsight.workflow.prepare.phases import build_phases
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.estimate import estimate
from clearsight.workflow.run.profiling import decoded_bytes
from clearsight.workflow.speed.throughput import Candidate, ThroughputComparison, settings_applied

TUNABLE = ("workers", "threads", "channels_last", "precision", "batch_size")
_SHARE = 0.15  # of the training to come, that measuring may take; within
_BUDGET = (60.0, 180.0)  # seconds
_BLOCK = 1.5  # seconds that a block lasts at least
_TURNS = 3  # of the last two
_CLEAR = 0.15  # a difference that needs no second look
_WAITING = 0.02  # share of the time; less of it cannot be felt
_NOISE = 0.02  # a gain below this is no reason to leave the defaults
_ROUNDED = 0.05  # gain that pays for other arithmetic
_LARGER = 0.10  # gain that pays for another batch size
_STEPS = 20  # an epoch must keep, whatever the batch size
_DOUBLINGS = 2
_CACHED = "What is frozen is computed once and its features are kept, so that there is nothing to tune."


@dataclass(kw_only=True)
class AutoTuneResult:
    """What was chosen and why. candidates: everything that was measured, in order."""

    chosen: dict[str, Any] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The shape of auto_tune.json."""
        return {
            "chosen": self.chosen,
            "why": " ".join(self.reasons),
            "seconds": self.seconds,
            "rows": [candidate.to_json() for candidate in self.candidates],
        }


def auto_tune(setting: RunSetup, unsaid: Collection[str], *, budget: float) -> AutoTuneResult:
    """Measure those of TUNABLE that nobody decided, for a run that is ready to begin. budget: seconds, about."""
    search = _Search(setting, [name for name in TUNABLE if name in unsaid], budget)
    began = time.perf_counter()
    search.readers_and_threads()
    search.layout()
    search.precision()
    search.batch()
    search.tuning.seconds = time.perf_counter() - began
    search.tuning.chosen = search.best
    return search.tuning


class _Search:
    """One setting after the other, each kept at its best before the next is tried."""

    def __init__(self, setting: RunSetup, names: Sequence[str], budget: float) -> None:
        self.setting, self.names, self.tuning = setting, names, AutoTuneResult()
        self.best: dict[str, Any] = {}
        self._ends = time.perf_counter() + budget
        self._stage = ThroughputComparison(setting, largest=setting.recipe.train.batch_size * 2**_DOUBLINGS)

    def readers_and_threads(self) -> None:
        """All pairs by successive halving (Jamieson & Talwalkar 2016): after each round the slower half leaves.

        The usual pair stays to the end, where the best other one has to beat it. Where it never waits for batches,
        readers are left as they are: no other number of them could be felt.
        """
        pairs = _pairs(self.setting, self.names)
        if len(pairs) < 2:
            return
        [usual] = self._candidates(pairs[:1])
        if not self._rounds([usual], 1):
            return
        if usual.waiting < _WAITING:
            pairs = [pair for pair in pairs if pair.get("workers") == pairs[0].get("workers")]
            self.best |= pairs[0]
            self._say(f"Batches are waited for {100 * usual.waiting:.1f} % of the time, so readers stay as they are.")
        others = self._candidates(pairs[1:])
        while len(others) > 1 and self._rounds([usual, *others], 1):
            others = sorted(others, key=lambda one: -one.images_per_second)[: len(others) // 2]
        if len(others) == 1:
            self._settle(usual, others[0], "readers and threads", _NOISE)

    def layout(self) -> None:
        """Channels first or last."""
        if "channels_last" in self.names:
            self._duel({"channels_last": "on"}, {"channels_last": "off"}, "memory layout", _NOISE)

    def precision(self) -> None:
        """float32, or bfloat16 where the machine is faster in it."""
        usual = self.setting.placement.precision
        if "precision" in self.names:
            other = "bf16" if usual == "fp32" else "fp32"
            self._duel({"precision": usual}, {"precision": other}, "precision", _ROUNDED)

    def batch(self) -> None:
        """Twice the batch as long as it pays and enough steps are left."""
        if "batch_size" not in self.names:
            return
        size = self.setting.recipe.train.batch_size
        for _ in range(_DOUBLINGS):
            if len(self.setting.train) < 2 * size * _STEPS:
                self._say(f"A batch of {2 * size} would leave fewer than {_STEPS} steps an epoch.")
                return
            if not self._duel({"batch_size": size}, {"batch_size": 2 * size}, "batch size", _LARGER):
                return
            size *= 2

    def _duel(self, usual: Mapping[str, Any], other: Mapping[str, Any], what: str, gain: float) -> bool:
        """Whether the other setting won."""
        first, second = self._candidates([usual, other])
        return self._settle(first, second, what, gain)

    def _settle(self, usual: Candidate, other: Candidate, what: str, gain: float) -> bool:
        """Let two take turns; the other one is kept where it is faster by `gain` in the median of the turns."""
        ratios: list[float] = []
        for _ in range(_TURNS):
            if not self._rounds([usual, other], 1):
                break
            ratios.append(_last(other) / _last(usual))
            if abs(statistics.median(ratios) - 1 - gain) > _CLEAR:
                break
        if not ratios:
            return False
        won = statistics.median(ratios) > 1 + gain
        winner, loser = (other, usual) if won else (usual, other)
        self.best |= winner.settings
        differing = [name for name, value in winner.settings.items() if loser.settings.get(name) != value]
        told = ", ".join(f"{name} {winner.settings[name]}" for name in differing)
        beside = f", against {loser.images_per_second:,.1f}" if loser.blocks else ""
        self._say(f"{what[0].upper()}{what[1:]}: {told} at {winner.images_per_second:,.1f} images/s{beside}.")
        return won

    def _candidates(self, settings: Sequence[Mapping[str, Any]]) -> list[Candidate]:
        made = [Candidate(settings={**self.best, **one}) for one in settings]
        self.tuning.candidates += made
        return made

    def _rounds(self, candidates: Sequence[Candidate], count: int) -> bool:
        """So many blocks of each, as far as the time goes; whether there was time for any."""
        for done in range(count):
            if time.perf_counter() > self._ends:
                self._say("The time for measuring was over.")
                return done > 0
            self._stage.round(candidates if done % 2 else candidates[::-1], 2, _BLOCK)
            self.setting.progress("auto-tune", len(self.best), len(self.names) + 1)
        return True

    def _say(self, reason: str) -> None:
        if reason not in self.tuning.reasons:
            self.tuning.reasons.append(reason)


def _last(candidate: Candidate) -> float:
    """Its last block's images per second; 0 where it could not be tried."""
    return candidate.blocks[-1].images_per_second if candidate.blocks else 0.0


def _pairs(setting: RunSetup, names: Sequence[str]) -> list[dict[str, int]]:
    """Readers and threads to try together, the usual ones first: they share the cores."""
    have, usual_readers, usual_threads = cores(), loader_workers(setting.recipe.data), setting.placement.threads
    # On a GPU the host's thread only launches kernels: how many there are of them decides nothing.
    on_host = setting.placement.device.type == "cpu"
    threads = {usual_threads, have, max(1, have // 2)} if "threads" in names and on_host else {usual_threads}
    readers = {usual_readers, 0, 1, max(1, have // 2), have, min(2 * have, 16)}
    readers = readers if "workers" in names else {usual_readers}
    grid = [(count, each) for each in sorted(threads, reverse=True) for count in sorted(readers)]
    grid.sort(key=lambda pair: pair != (usual_readers, usual_threads))
    told = [name for name in ("workers", "threads") if name in names and (name == "workers" or on_host)]
    return [{name: {"workers": pair[0], "threads": pair[1]}[name] for name in told} for pair in grid if told]


def _cache(setting: RunSetup) -> str:
    """Whether decoded images stay in memory, in words: that needs no measuring, only room."""
    need, room = decoded_bytes(setting) / 1e6, memory_for_pixels(setting.world) / 1e6
    if not setting.recipe.data.keep_pixels:
        return "Decoded images are not kept, as was said."
    kept = "are kept in memory between epochs" if need <= room else "are kept as far as memory goes"
    return f"Decoded images {kept} ({need:,.0f} MB of {room:,.0f})."


def worthwhile_seconds(training: float) -> float:
    """Seconds of measuring that are worth it before so many seconds of training."""
    low, high = _BUDGET
    return min(high, max(low, _SHARE * training))


def apply_auto_tune(setting: RunSetup, unsaid: Collection[str]) -> tuple[RunSetup, AutoTuneResult]:
    """The setting of a run with what measuring chose, and what was measured. unsaid: fields that may be decided.

    The learning rate goes with the batch where nobody said it: by the square root of the factor for Adam (Malladi et
    al. 2022, "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms"), by the factor for SGD (Goyal et al.
    2017, "Accurate, Large Minibatch SGD").
    """
    how = setting.recipe
    phases = build_phases(setting)
    if phases[-1].cached:
        tuning = AutoTuneResult(reasons=[_CACHED])
    else:
        tuning = auto_tune(setting, unsaid, budget=worthwhile_seconds(estimate(setting, phases)))
        tuning.reasons.append(_cache(setting))
    changes = dict(tuning.chosen)
    factor = changes.get("batch_size", how.train.batch_size) / how.train.batch_size
    if factor > 1 and "lr" in unsaid:
        scale = factor if how.optim.optimizer == "sgd" else math.sqrt(factor)
        changes["lr"] = tuning.chosen["lr"] = float(f"{how.optim.peak * scale:.3g}")
        tuning.reasons.append(f"The learning rate goes with the batch: {changes['lr']:g}.")
    changed = settings_applied(setting, {**changes, "auto_tune": False})
    changed.network.model.to(memory_format=changed.placement.memory_format)
    torch.set_num_threads(changed.placement.threads)
    return changed, tuning


def tuning_notes(folder: Path) -> list[str]:
    """What tuning chose for the run in a folder, in words; nothing where it was not asked for."""
    path = folder / "auto_tune.json"
    return [f"Tuned in {told['seconds']:.0f} s. {told['why']}"] if path.is_file() and (told := read_json(path)) else []
