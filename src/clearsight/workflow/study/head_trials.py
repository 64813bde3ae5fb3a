"""HeadTrials: trials that train a head alone, several at once over the features of one frozen network.

The training of each head is kept in one small file. Only the best trial becomes a run folder, which is written from the
file as if the head had trained by itself, and then measured like any other run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from clearsight.core.events import EpochRecord, RunStatus, StepRecord
from clearsight.core.preprocess import PRESETS
from clearsight.core.recipe import Recipe
from clearsight.core.run import MetricsLog, Run
from clearsight.core.stop import StopKind, StopReason
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
from clearsight.training.loop import write_checkpoint
from clearsight.training.stop import StopSignal
from clearsight.tuning.storage.trial_folder import TrialFolder
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import list_dataset, train_plan
from clearsight.workflow.prepare.defaults import resolve_defaults
from clearsight.workflow.prepare.phases import build_phases, feature_splits
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.adjustments import AdjustedTraining
from clearsight.workflow.run.checks import run_lock
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.execute import begin_run, execute, make_setup, run_process
from clearsight.workflow.study.head_file import HeadFile
from clearsight.workflow.study.plan import stack_key
from clearsight.workflow.study.reporter import TrialReporter, interruption, stop_after_epoch


@dataclass(kw_only=True, eq=False)
class _Backbone:
    """A frozen network with the features of its images.

    uncharged_seconds: time in which the features were computed, until the first trial has been charged with it.
    """

    setup: RunSetup
    train: FeatureBatches
    valid: FeatureBatches
    uncharged_seconds: float

    def charge(self, epochs: int) -> float:
        """Return the seconds of forward passes that a trial of so many epochs saved; the first trial paid for all."""
        pass_seconds = self.train.time.pass_seconds + self.valid.time.pass_seconds  # of an epoch without the cache
        saved = epochs * pass_seconds - self.uncharged_seconds
        self.uncharged_seconds = 0.0
        return max(saved, 0.0)


class HeadTrials:
    """Trains heads, and keeps their frozen networks and features from one assignment to the next."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        # By dataset, stack key and seed: the seed draws random weights, the split and the augmented views.
        self._backbones: dict[tuple[str, str, int], _Backbone | None] = {}

    def train(
        self,
        recipes: Mapping[int, Recipe],
        folders: Mapping[int, TrialFolder],
        source: Path,
        metrics: Sequence[str],
        reporter: TrialReporter,
    ) -> list[TrialResult] | None:
        """Return the results of the trials that were not interrupted; None if the heads must train alone.

        recipes, folders: by the number of the trial.  The weights of a head are written before its result is returned.
        """
        started, results = time.time(), []
        backbones = {number: self._backbone(recipe, source) for number, recipe in recipes.items()}
        for backbone in dict.fromkeys(backbones.values()):  # seeds may share a backbone
            if backbone is None:
                return None
            stack = {number: recipe for number, recipe in recipes.items() if backbones[number] is backbone}
            with run_process(backbone.setup.recipe, World()):
                trained = _train_heads(backbone, stack, reporter)
            for head in trained:
                if head.status is RunStatus.INTERRUPTED:
                    continue
                if head.best_epoch:  # a head that diverged in its first epoch has no weights to keep
                    HeadFile.of(head).write(folders[head.number].head)
                results.append(_trial_result(head, backbone, metrics, started))
        return results

    def deliver(self, folder: TrialFolder, recipe: Recipe, source: Path) -> Run:
        """Write the run of a head that trained in a stack, and measure it."""
        launch = LaunchContext(paths=self._paths)
        head = HeadFile.read(folder.head)
        folder.run.mkdir(parents=True, exist_ok=True)
        with run_process(recipe, World()) as placement, run_lock(folder.run):
            setup = make_setup(source, recipe, placement, launch)
            run = begin_run(folder.run, source, setup, placement)
            # The metrics as a training of the head by itself would have written them.
            with closing(MetricsLog(run.files.metrics())) as metrics:
                for record in head.records(len(setup.train), recipe.train.batch_size):
                    if isinstance(record, StepRecord):
                        metrics.on_step(record)
                    else:
                        metrics.on_epoch(record)
            _write_checkpoint(run, head, setup)
            return execute(Run.open(folder.run), setup, launch)

    def _backbone(self, recipe: Recipe, source: Path) -> _Backbone | None:
        key = (str(source), str(stack_key(recipe, ())), recipe.train.seed)
        if key not in self._backbones:
            self._backbones[key] = self._shared(recipe, source) or _compute_backbone(recipe, source, self._paths)
        return self._backbones[key]

    def _shared(self, recipe: Recipe, source: Path) -> _Backbone | None:
        """Return the backbone of another seed if the seed changes neither its weights nor its images."""
        if recipe.model.weights == "none" or PRESETS[recipe.data.resolved_augment].random:
            return None
        for (path, key, _), backbone in self._backbones.items():
            if backbone is None or (path, key) != (str(source), str(stack_key(recipe, ()))):
                continue
            # The seed also decides how a dataset without a validation split is split.
            if _sample_ids(source, recipe) == _sample_ids(
                source, recipe.replace(seed=backbone.setup.recipe.train.seed)
            ):
                return backbone
        return None


def _compute_backbone(recipe: Recipe, source: Path, paths: Paths) -> _Backbone | None:
    """Return the frozen network of a recipe with the features of its images; None if its head cannot be stacked."""
    with run_process(recipe, World()) as placement:
        setup = make_setup(source, recipe, placement, LaunchContext(paths=paths))
        if placement.precision != "fp32" or not stackable(setup.network.head):
            return None
        train, valid = feature_splits(setup, freeze(setup.network, "backbone"))
    assert valid is not None  # a study without validation images does not begin
    if not (train.read() and valid.read()) or train.views.ndim != 3:
        # Too large for the memory, or feature maps (V, N, C, H, W), which still pass through a pooling layer in front.
        return None
    computed = train.time.computed_seconds + valid.time.computed_seconds
    return _Backbone(setup=setup, train=train, valid=valid, uncharged_seconds=computed)


def _train_heads(backbone: _Backbone, recipes: Mapping[int, Recipe], reporter: TrialReporter) -> list[HeadResult]:
    setup, train, valid = backbone.setup, backbone.train, backbone.valid
    classes = len(setup.data.classes)

    def order(seed: int) -> Callable[[int], npt.NDArray[np.int64]]:
        plan = train_plan(setup.recipe.replace(seed=seed), setup.world)
        return Loader(setup.train, setup.network.preprocess, plan).order

    def head(recipe: Recipe) -> nn.Module:
        model, saved = recipe.model, setup.network.saved_head
        built = build_head(setup.network.features, classes, model.head, model.dropout, recipe.train.seed)
        # As a head that trains alone: it continues that of the weights where its layers are the same.
        if {name: t.shape for name, t in saved.items()} == {name: t.shape for name, t in built.state_dict().items()}:
            built.load_state_dict(saved)
        return built

    def on_epoch(number: int, record: EpochRecord) -> StopReason | None:
        return stop_after_epoch(reporter, number, record, classes)

    data = HeadData(
        views=train.views, labels=train.labels, order=order, valid=(valid.views[0], valid.labels), classes=classes
    )
    # Defaults are resolved by the network, which the study did not have when it made the recipes.
    heads = [
        StackedHead(number=number, recipe=resolve_defaults(recipe, setup.network, len(setup.train)))
        for number, recipe in recipes.items()
    ]
    return train_heads(heads, data, head, on_epoch=on_epoch, interrupted=lambda: interruption(reporter))


def _trial_result(head: HeadResult, backbone: _Backbone, metrics: Sequence[str], started: float) -> TrialResult:
    parameters = sum(p.numel() for p in backbone.setup.network.backbone_parameters())
    parameters += sum(tensor.numel() for tensor in head.best_state.values())
    facts = {**head.best_valid, "parameters": float(parameters)}
    # Out of patience is a regular end; any other reason to stop a head means that the trial was pruned.
    complete = head.status in (RunStatus.COMPLETED, RunStatus.STOPPED_EARLY) and (
        head.stop is None or head.stop.kind is StopKind.PATIENCE
    )
    return TrialResult(
        number=head.number,
        state=TrialState.COMPLETE if complete else TrialState.PRUNED,
        values=tuple(facts.get(metric, float("nan")) for metric in metrics) if complete else (),
        reason="" if complete or head.stop is None else head.stop.text,
        stop_kind=None if complete or head.stop is None else head.stop.kind,
        curve={record.epoch: record.valid for record in head.epochs},
        scores=head.best_valid,
        best_epoch=head.best_epoch,
        started=started,
        seconds=head.seconds,
        saved_seconds=backbone.charge(len(head.epochs)),
    )


def _write_checkpoint(run: Run, head: HeadFile, setup: RunSetup) -> None:
    """Write the checkpoints of a training that has ended: a run that is resumed there trains nothing more."""
    phases, checkpoints = build_phases(setup), Checkpoints(run.checkpoints)
    training = AdjustedTraining(run, setup, phases, checkpoints, StopSignal(), [], None)
    network = setup.network
    best = {f"{network.head_name}.{name}": tensor for name, tensor in head.weights.items()}
    load_into(network.model, best)
    write_checkpoint(training.job([]), head.position(setup.recipe.train.resolved_epochs), best)


def _sample_ids(source: Path, recipe: Recipe) -> list[list[str]]:
    data = list_dataset(source, recipe.data, recipe.train.seed)
    return [[sample.id for sample in data.split(split).samples] for split in ("train", "valid")]
