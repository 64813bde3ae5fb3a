"""auto_tune: chooses the settings that decide how fast a run is, by measuring before it begins.

What a run learns does not depend on them, with two exceptions that the log names: arithmetic in bfloat16 where that is
faster, and a larger batch where it pays, with the learning rate scaled accordingly. Given settings are never changed.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from clearsight.core.files import read_json
from clearsight.core.format import duration, rate, speed
from clearsight.core.machine import cores
from clearsight.core.preprocess import Preprocess
from clearsight.core.recipe import DataSection, Recipe
from clearsight.core.run import RunFolder
from clearsight.training.device import Placement
from clearsight.training.distributed import World
from clearsight.workflow.prepare.datasets import loader_workers, memory_for_pixels
from clearsight.workflow.prepare.phases import build_phases
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.plan import run_seconds
from clearsight.workflow.run.profiling import decoded_bytes
from clearsight.workflow.speed.throughput import Candidate, ThroughputComparison, with_settings

TUNABLE = ("workers", "threads", "channels_last", "precision", "batch_size")
_SHARE = 0.15  # of the estimated training time that measuring may take, within
_BUDGET = (60.0, 180.0)  # seconds
_BLOCK = 1.5  # seconds that a block lasts at least: shorter ones vary too much to be compared
_TURNS = 3  # blocks of each of the last two candidates
_CLEAR = 0.15  # a difference that needs no second block
_WAIT_SHARE = 0.02  # of the time spent waiting for batches; below it more loader workers cannot help
# Gains that a change must bring in images/s. A change that leaves the results bit-equal only has to be above noise; one
# that rounds differently, or that changes how many steps an epoch has, has to pay for that.
_NOISE_GAIN = 0.02
_PRECISION_GAIN = 0.05
_BATCH_GAIN = 0.10
_MIN_STEPS = 20  # of an epoch, whatever the batch size: fewer updates would cost accuracy
_DOUBLINGS = 2  # of the batch size at most
_CACHED = "The frozen part is computed once and its features are cached, so there is nothing to tune."


@dataclass(kw_only=True)
class AutoTuneResult:
    """Settings that were chosen, and why. candidates: everything that was measured, in order."""

    chosen: dict[str, Any] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the content of auto_tune.json."""
        return {
            "chosen": self.chosen,
            "why": " ".join(self.reasons),
            "seconds": self.seconds,
            "rows": [candidate.to_json() for candidate in self.candidates],
        }


def auto_tune(setup: RunSetup, unset: Collection[str], *, budget: float) -> AutoTuneResult:
    """Choose the unset ones of TUNABLE by measuring, for a run that is ready to begin. budget: seconds, about."""
    search = _Search(setup, [name for name in TUNABLE if name in unset], budget)
    start = time.perf_counter()
    search.workers_and_threads()
    search.layout()
    search.precision()
    search.batch_size()
    search.result.seconds = time.perf_counter() - start
    return search.result


class _Search:
    """Searches one setting after the other; each stays at its best value while the next is measured."""

    def __init__(self, setup: RunSetup, names: Sequence[str], budget: float) -> None:
        self._names, self._placement, self._recipe = names, setup.placement, setup.recipe
        self._images, self._progress = len(setup.train), setup.progress
        self._comparison = ThroughputComparison(setup, largest=setup.recipe.train.batch_size * 2**_DOUBLINGS)
        self._deadline = time.perf_counter() + budget
        self.result = AutoTuneResult()

    def workers_and_threads(self) -> None:
        """Compare all pairs by successive halving (Jamieson & Talwalkar 2016): each round drops the slower half.

        The default pair stays to the end, where the best other pair has to beat it. If it never waits for batches, the
        number of loader workers is left as it is: no other number could be faster.
        """
        pairs = _pairs(self._recipe.data, self._placement, self._names)
        if len(pairs) < 2:
            return
        [default] = self._candidates(pairs[:1])
        if not self._round([default]):
            return
        if default.wait_share < _WAIT_SHARE:
            pairs = [pair for pair in pairs if pair.get("workers") == pairs[0].get("workers")]
            self.result.chosen |= pairs[0]
            share = f"{100 * default.wait_share:.1f} %"
            self._add_reason(f"Training waits for batches {share} of the time, so the loader workers stay as they are.")
        others = self._candidates(pairs[1:])
        while len(others) > 1 and self._round([default, *others]):
            others = sorted(others, key=lambda candidate: -candidate.images_per_second)[: len(others) // 2]
        if len(others) == 1:
            self._compare(default, others[0], "loader workers and threads", _NOISE_GAIN)

    def layout(self) -> None:
        """Compare the memory layouts, channels first and last."""
        if "channels_last" in self._names:
            self._compare_settings({"channels_last": "on"}, {"channels_last": "off"}, "memory layout", _NOISE_GAIN)

    def precision(self) -> None:
        """Compare float32 and bfloat16."""
        default = self._placement.precision
        if "precision" in self._names:
            other = "bf16" if default == "fp32" else "fp32"
            self._compare_settings({"precision": default}, {"precision": other}, "precision", _PRECISION_GAIN)

    def batch_size(self) -> None:
        """Double the batch as long as that pays and leaves enough steps."""
        if "batch_size" not in self._names:
            return
        size = self._recipe.train.batch_size
        for _ in range(_DOUBLINGS):
            if self._images < 2 * size * _MIN_STEPS:
                self._add_reason(f"A batch of {2 * size} would leave fewer than {_MIN_STEPS} steps an epoch.")
                return
            if not self._compare_settings({"batch_size": size}, {"batch_size": 2 * size}, "batch size", _BATCH_GAIN):
                return
            size *= 2

    def _compare_settings(self, default: Mapping[str, Any], other: Mapping[str, Any], name: str, gain: float) -> bool:
        first, second = self._candidates([default, other])
        return self._compare(first, second, name, gain)

    def _compare(self, default: Candidate, other: Candidate, name: str, gain: float) -> bool:
        """Let two candidates take turns, and choose the other one if it is faster by `gain` in the median of the turns.

        Returns True if the other one was chosen. name: of what is compared, for the reason.
        """
        ratios: list[float] = []
        for _ in range(_TURNS):
            if not self._round([default, other]):
                break
            ratios.append(_last(other) / _last(default))
            if abs(statistics.median(ratios) - 1 - gain) > _CLEAR:
                break
        if not ratios:
            return False
        won = statistics.median(ratios) > 1 + gain
        winner, loser = (other, default) if won else (default, other)
        self.result.chosen |= winner.settings
        differing = [key for key, value in winner.settings.items() if loser.settings.get(key) != value]
        values = ", ".join(f"{key} {winner.settings[key]}" for key in differing)
        against = f", against {rate(loser.images_per_second)}" if loser.blocks else ""
        self._add_reason(f"{name[0].upper()}{name[1:]}: {values} at {speed(winner.images_per_second)}{against}.")
        return won

    def _candidates(self, settings: Sequence[Mapping[str, Any]]) -> list[Candidate]:
        candidates = [Candidate(settings={**self.result.chosen, **changes}) for changes in settings]
        self.result.candidates += candidates
        return candidates

    def _round(self, candidates: Sequence[Candidate]) -> bool:
        """Measure another block of each candidate; return False if the time for measuring is over."""
        if time.perf_counter() > self._deadline:
            self._add_reason("The time for measuring was over.")
            return False
        # The default, first in the list, goes last: warming up must not count against it.
        self._comparison.round(candidates[::-1], 2, _BLOCK)
        self._progress("auto-tune", len(self.result.chosen), len(self._names) + 1)
        return True

    def _add_reason(self, reason: str) -> None:
        if reason not in self.result.reasons:
            self.result.reasons.append(reason)


def _last(candidate: Candidate) -> float:
    """Return the images per second of a candidate's last block; 0 if it could not be measured."""
    return candidate.blocks[-1].images_per_second if candidate.blocks else 0.0


def _pairs(section: DataSection, placement: Placement, names: Sequence[str]) -> list[dict[str, int]]:
    """Return the loader workers and threads to try together, the default pair first: they share the cores."""
    available, choices = cores(), dict[str, set[int]]()
    default = {"workers": loader_workers(section), "threads": placement.threads}
    if "workers" in names:
        choices["workers"] = {default["workers"], 0, 1, max(1, available // 2), available, min(2 * available, 16)}
    # On a GPU the host's thread only launches kernels, so that the number of threads has no effect.
    if "threads" in names and placement.device.type == "cpu":
        choices["threads"] = {default["threads"], available, max(1, available // 2)}
    if not choices:
        return []
    pairs = [dict(zip(choices, pair, strict=True)) for pair in itertools.product(*choices.values())]
    unchanged = {name: default[name] for name in choices}
    return sorted(pairs, key=lambda p: (p != unchanged, -p.get("threads", 0), p.get("workers", 0)))


def _pixels_note(recipe: Recipe, preprocess: Preprocess, images: float, world: World) -> str:
    """Return a sentence on decoded images in memory: that is decided by their size, not by measuring.

    images: training images of this process.
    """
    if not recipe.data.keep_pixels:
        return "Decoded images are not kept in memory, as the recipe says."
    needed, free = decoded_bytes(recipe, preprocess, images) / 1e6, memory_for_pixels(world) / 1e6
    extent = "between epochs" if needed <= free else "between epochs, as far as it goes"
    return f"Decoded images are kept in memory {extent} ({needed:,.0f} MB of {free:,.0f})."


def worthwhile_seconds(training: float) -> float:
    """Return the seconds of measuring that are worth it before so many seconds of training."""
    low, high = _BUDGET
    return min(high, max(low, _SHARE * training))


def apply_auto_tune(setup: RunSetup, unset: Collection[str]) -> tuple[RunSetup, AutoTuneResult]:
    """Return the set-up of a run with the settings that were chosen by measuring, and the measurements.

    unset: recipe fields that may be chosen. An unset learning rate is scaled with the batch: by the square root of the
    factor for Adam (Malladi et al. 2022, "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms"), by the
    factor for SGD (Goyal et al. 2017, "Accurate, Large Minibatch SGD").
    """
    recipe, phases = setup.recipe, build_phases(setup)
    if phases[-1].cached:
        result = AutoTuneResult(reasons=[_CACHED])
    else:
        result = auto_tune(setup, unset, budget=worthwhile_seconds(run_seconds(setup, phases)))
        images = len(setup.train) / setup.world.size
        result.reasons.append(_pixels_note(recipe, setup.network.preprocess, images, setup.world))
    changes = dict(result.chosen)
    factor = changes.get("batch_size", recipe.train.batch_size) / recipe.train.batch_size
    if factor > 1 and "lr" in unset:
        scale = factor if recipe.optim.optimizer == "sgd" else math.sqrt(factor)
        changes["lr"] = result.chosen["lr"] = float(f"{recipe.optim.resolved_lr * scale:.3g}")
        result.reasons.append(f"The learning rate is scaled with the batch, to {changes['lr']:g}.")
    # Off in the recipe of the run: whoever resumes or repeats it gets these settings without measuring again.
    changed = with_settings(setup, {**changes, "auto_tune": False})
    changed.network.model.to(memory_format=changed.placement.memory_format)
    torch.set_num_threads(changed.placement.threads)
    return changed, result


def tuning_notes(folder: Path) -> list[str]:
    """Return a note on the settings that were chosen for the run in a folder; none if it was not tuned."""
    path = RunFolder(folder).auto_tune
    if not path.is_file() or not (stored := read_json(path)):
        return []
    return [f"Tuned in {duration(stored['seconds'])}. {stored['why']}"]
