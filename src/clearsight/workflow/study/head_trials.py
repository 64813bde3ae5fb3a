"""HeadTrials: trials that train a head alone, several at once over the features of one frozen network.

What a head has learned is kept as one small file. Only the trial that turns out best becomes a run folder: that is
written from the file, as if the head had been trained by itself, and then measured like any other run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from clearsight.core.dataset import Dataset
from clearsight.core.events import EpochRecord, RunStatus, StepRecord
from clearsight.core.machine import versions
from clearsight.core.metrics_log import MetricsLog
from clearsight.core.preprocess import PRESETS
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.core.trial import TrialResult, TrialState
from clearsight.data.loader import Loader
from clearsight.models.freeze import freeze
from clearsight.models.heads import build_head
from clearsight.training.batches import FeatureBatches
from clearsight.training.checkpoint import Checkpoints, load_into
from clearsight.training.distributed import World
from clearsight.training.heads.job import HeadData, HeadResult, StackedHead
from clearsight.training.heads.network import stackable
from clearsight.training.heads.train import train_heads
from clearsight.training.loop import Training
from clearsight.training.stop import StopSignal
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import list_dataset
from clearsight.workflow.prepare.defaults import resolve_defaults
from clearsight.workflow.prepare.feature_batches import feature_batches
from clearsight.workflow.prepare.image_batches import load_plan
from clearsight.workflow.prepare.phases import build_phases
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.adjustments import AdjustedTraining
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.execute import data_facts, execute, hardware_facts, make_setup, run_process
from clearsight.workflow.study.head_file import HeadFile
from clearsight.workflow.study.reporter import TrialReporter
from clearsight.workflow.study.run_trial import chance_level_reason
from clearsight.workflow.study.stackable import stack_key

_FILE = "head.safetensors"


@dataclass(kw_only=True)
class _Ground:
    """A frozen network with the features of its data: what heads stand on. unpaid: what the features cost to compute,
    until the first trial has been charged with it."""

    setting: RunSetup
    train: FeatureBatches
    valid: FeatureBatches
    unpaid: float


class HeadTrials:
    """Trains heads, and keeps the grounds they stand on from one assignment to the next."""

    def __init__(self, places: Paths) -> None:
        self._places = places
        self._grounds: dict[tuple[str, str, int], _Ground | None] = {}

    def train(
        self,
        recipes: Mapping[int, Recipe],
        folders: Mapping[int, Path],
        source: Path,
        metrics: Sequence[str],
        talk: TrialReporter,
    ) -> list[TrialResult] | None:
        """Outcomes of the trials by number, without those that were interrupted; None where heads must train alone.

        The weights of each lie in its folder before its outcome is known to anybody.
        """
        began, outcomes = time.time(), []
        for ground, numbers in self._grouped(recipes, source):
            if ground is None:
                return None
            with run_process(ground.setting.recipe, World()):
                results = _trained(ground, {number: recipes[number] for number in numbers}, talk)
            for result in results:
                if result.status is RunStatus.INTERRUPTED and not result.stopped:
                    continue
                if result.best_epoch:
                    HeadFile.of(result).write(folders[result.number] / _FILE)
                outcomes.append(_outcome(result, ground, metrics, began))
        return outcomes

    def deliver(self, folder: Path, recipe: Recipe, source: Path) -> Run:
        """Make the run of a head that was trained among others, and measure it."""
        path, around = folder / "run", LaunchContext(places=self._places)
        kept = HeadFile.read(folder / _FILE)
        with run_process(recipe, World()) as placement:
            setting = make_setup(source, recipe, placement, around)
            facts = {"data": data_facts(source, setting), "versions": versions(), "hardware": hardware_facts(placement)}
            run = Run.begin(path, setting.recipe, **facts)
            _write_history(run, kept, len(setting.train))
            _write_checkpoint(run, kept, setting)
            return execute(Run.open(path), setting, around)

    def _grouped(self, recipes: Mapping[int, Recipe], source: Path) -> Iterator[tuple[_Ground | None, list[int]]]:
        """The trials by the ground that they stand on; None for those whose head cannot be stacked."""
        groups: dict[int, tuple[_Ground | None, list[int]]] = {}
        for number, recipe in recipes.items():
            ground = self._ground(recipe, source)
            groups.setdefault(id(ground), (ground, []))[1].append(number)
        yield from groups.values()

    def _ground(self, recipe: Recipe, source: Path) -> _Ground | None:
        key = (str(source), str(stack_key(recipe, ())), recipe.train.seed)
        if key not in self._grounds:
            self._grounds[key] = self._known(recipe, source) or _laid(recipe, source, self._places)
        return self._grounds[key]

    def _known(self, recipe: Recipe, source: Path) -> _Ground | None:
        """A ground that another seed has too: the same weights under the same images."""
        if recipe.model.weights == "none" or PRESETS[recipe.data.augment].random:
            return None
        for (path, key, _), ground in self._grounds.items():
            if ground is None or (path, key) != (str(source), str(stack_key(recipe, ()))):
                continue
            if _ids(list_dataset(source, recipe.data, recipe.train.seed)) == _ids(
                list_dataset(source, recipe.data, ground.setting.recipe.train.seed)
            ):
                return ground
        return None


def _laid(recipe: Recipe, source: Path, places: Paths) -> _Ground | None:
    """The frozen network of a recipe, with the features of its images."""
    with run_process(recipe, World()) as placement:
        setting = make_setup(source, recipe, placement, LaunchContext(places=places))
        if placement.precision != "fp32" or not stackable(setting.network.head):
            return None
        train, valid = feature_batches(setting, freeze(setting.network, "backbone"))
    assert isinstance(train, FeatureBatches)
    assert isinstance(valid, FeatureBatches)
    if train.views.ndim != 3:
        return None  # features that are maps still pass through what is not in the head
    return _Ground(setting=setting, train=train, valid=valid, unpaid=train.paid + valid.paid)


def _trained(ground: _Ground, recipes: Mapping[int, Recipe], talk: TrialReporter) -> list[HeadResult]:
    setting, train, valid = ground.setting, ground.train, ground.valid
    classes = len(setting.data.classes)

    def order(seed: int) -> Callable[[int], npt.NDArray[np.int64]]:
        own = replace(setting, recipe=setting.recipe.replace(seed=seed))
        return Loader(setting.train, setting.network.preprocess, load_plan(own, "train")).order

    def head(recipe: Recipe) -> nn.Module:
        how = recipe.model
        return build_head(setting.network.features, classes, how.head, how.dropout, recipe.train.seed)

    def on_epoch(number: int, record: EpochRecord) -> str:
        return talk.epoch(number, record.epoch, record.valid) or chance_level_reason(record, classes)

    data = HeadData(
        views=train.views,
        labels=train.labels,
        order=order,
        valid=(valid.views[0], valid.labels),
        classes=classes,
    )
    heads = [
        StackedHead(number=number, recipe=resolve_defaults(recipe, setting.network, len(setting.train)))
        for number, recipe in recipes.items()
    ]
    return train_heads(heads, data, head, on_epoch=on_epoch, interrupted=talk.interrupted)


def _outcome(result: HeadResult, ground: _Ground, metrics: Sequence[str], began: float) -> TrialResult:
    """What the training of one head came to."""
    backbone = sum(p.numel() for p in ground.setting.network.backbone_parameters())
    head = sum(tensor.numel() for tensor in result.best_state.values())
    facts = {**result.best_valid, "parameters": float(backbone + head)}
    well = result.status in (RunStatus.COMPLETED, RunStatus.STOPPED_EARLY) and not result.stopped
    passes, ground.unpaid = len(result.epochs) * (ground.train.cost + ground.valid.cost) - ground.unpaid, 0.0
    return TrialResult(
        number=result.number,
        state=TrialState.COMPLETE if well else TrialState.PRUNED,
        values=tuple(facts.get(metric, float("nan")) for metric in metrics) if well else (),
        reason="" if well else result.stopped or result.reason,
        curve={record.epoch: record.valid for record in result.epochs},
        scores=result.best_valid,
        best_epoch=result.best_epoch,
        started=began,
        seconds=result.seconds,
        spared_seconds=max(passes, 0.0),
    )


def _write_history(run: Run, kept: HeadFile, images: int) -> None:
    """metrics.jsonl, as a training would have left it."""
    writer = MetricsLog(run.path / "metrics.jsonl")
    for record in kept.records(images, run.recipe.train.batch_size):
        if isinstance(record, StepRecord):
            writer.on_step(record)
        else:
            writer.on_epoch(record)
    writer.close()


def _write_checkpoint(run: Run, kept: HeadFile, setting: RunSetup) -> None:
    """The checkpoints of a training that is over: going on from them trains nothing more."""
    phases, checkpoints = build_phases(setting), Checkpoints(run.checkpoints)
    course = AdjustedTraining(run, setting, phases, checkpoints, StopSignal(), [], None)
    training = Training(course.job([]))
    training.at = kept.position(setting.recipe.train.passes)
    network = setting.network
    training.best = {f"{network.head_name}.{name}": tensor for name, tensor in kept.weights.items()}
    load_into(network.model, training.best)
    training.save()


def _ids(data: Dataset) -> list[list[str]]:
    return [[sample.id for sample in data.split(split).samples] for split in ("train", "valid")]
