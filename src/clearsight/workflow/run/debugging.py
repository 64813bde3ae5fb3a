"""The debugger of a run: its save plan, its rules and actions, and the context that rules may know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import numpy as np
import torch

from clearsight.core.context import RunContext
from clearsight.core.dataset import Dataset
from clearsight.core.events import ObserverList
from clearsight.core.files import write_json
from clearsight.core.finding import read_findings, write_findings
from clearsight.core.judge import judge
from clearsight.core.profile import Profile
from clearsight.core.profile_folder import read_profile
from clearsight.core.recipe import DebugSection, Recipe
from clearsight.core.resolution import ShownFindings
from clearsight.core.run import Run
from clearsight.core.stop import StopKind, StopReason
from clearsight.core.tensors import SavedRecord
from clearsight.data.label_errors import check_labels_by_features
from clearsight.debugger.actions import Action, ActionRunner
from clearsight.debugger.actions import parse_action as parse_action
from clearsight.debugger.capture.save_plan import SavePlan, make_save_plan, parse_save
from clearsight.debugger.live import LiveDebugger
from clearsight.debugger.session import CaptureSession
from clearsight.debugger.storage.saved_run import SavedRun
from clearsight.debugger.storage.tape import Tape
from clearsight.debugger.storage.tensor_store import FileTensorStore
from clearsight.training.batches import FeatureBatches
from clearsight.training.checkpoint import Checkpoints
from clearsight.training.job import Phase
from clearsight.training.stop import StopSignal
from clearsight.workflow.prepare.defaults import plain_settings
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.rules import ALL_RULES, recipe_rules, rules_about

_LABELS_CHECKED = 4000  # images: their check takes about a second
_SUSPECTS_SAVED = 100


def actions(section: DebugSection) -> list[Action]:
    """Return the actions of the recipe; --repair adds one, since a run with a severe finding need not be finished."""
    requested = [parse_action(text, ALL_RULES) for text in section.on_finding]
    return [*requested, Action("retry", selector="severe")] if section.repair else requested


def planned_steps(phases: Sequence[Phase], accumulate: int) -> int:
    """Return the optimizer steps of the whole run. accumulate: batches of a step."""
    return sum(phase.epochs * -(-phase.train.steps // accumulate) for phase in phases)  # -(-a // b) rounds up


def save_plan(recipe: Recipe, steps: int) -> SavePlan | None:
    """Return what the debugger saves in a run of so many steps, and how often; None with the debugger off."""
    section = recipe.debug
    if section.debug == "off":
        return None
    rules = rules_about("learning", recipe_rules(recipe))
    return make_save_plan(section.debug, steps, section.save_every, rules, parse_save(section.save))


def build_debugger(
    run: Run,
    setup: RunSetup,
    phases: Sequence[Phase],
    observers: ObserverList,
    stop: StopSignal,
    checkpoints: Checkpoints,
    profile: Callable[[], Profile],
) -> LiveDebugger | None:
    """Return the debugger of a run, at the step of its newest checkpoint; None where it is off or another rank leads.

    profile: returns what was measured so far.
    """
    plan = save_plan(setup.recipe, planned_steps(phases, setup.recipe.optim.accumulate))
    if plan is None or not setup.world.leads:  # gradients are equal on all ranks after their reduction
        return None
    store = FileTensorStore(run.files.tensors)
    earlier: list[SavedRecord] = []
    if last_step := checkpoints.last_step():
        store.rewind(last_step)  # records after the checkpoint will be made again
        earlier = list(SavedRun(run.path).tape().until(last_step).records)
    tape = Tape(run_context(setup, phases), earlier)
    return LiveDebugger(
        session=CaptureSession(plan, tape, store),
        rules=recipe_rules(setup.recipe),
        actions=ActionRunner(
            actions(setup.recipe.debug),
            lambda text: stop.ask(StopReason(StopKind.FINDING, text)),
            {"run": str(run.path)},
        ),
        announce=observers.on_finding,
        announce_resolved=observers.on_resolved,
        shown=ShownFindings(read_findings(run.files.live_findings)),
        all_clear=checkpoints.keep_good,  # a checkpoint without a finding: where `adjust` goes back to
        epochs=setup.recipe.train.resolved_epochs,
        profile=profile,
    )


def note_label_check(debugger: LiveDebugger | None, phases: Sequence[Phase], train: Dataset) -> None:
    """Let the rules know what the cached features of the training images say about their labels.

    Of many images a part is checked. Without features in memory the check of before the run was resumed stays.
    """
    if debugger is None:
        return
    session = debugger.session
    batches = next((p.train for p in phases if isinstance(p.train, FeatureBatches) and p.train.is_read), None)
    if batches is None:
        earlier = session.store.read_context().label_check
        if earlier is not None:
            session.set_context(replace(session.tape.context, label_check=earlier))
        return
    count = len(batches.labels)
    rows = np.random.default_rng(0).permutation(count)[:_LABELS_CHECKED]
    features = batches.views[0][torch.from_numpy(rows).to(batches.views.device)].float().cpu().numpy()
    paths = [train.samples[row].id for row in rows]
    checked = check_labels_by_features(features, batches.labels[rows], paths, train.classes.names)
    if checked is not None:
        checked = replace(checked, suspects=checked.suspects[:_SUSPECTS_SAVED])
    session.set_context(replace(session.tape.context, label_check=checked))


def run_context(setup: RunSetup, phases: Sequence[Phase]) -> RunContext:
    """Return what the rules may know of the run beside what is measured."""
    recipe, data, network = setup.recipe, setup.data, setup.network
    counts = np.bincount(setup.train.labels(), minlength=len(data.classes))
    used, expected = network.preprocess, setup.weights_preprocess
    return RunContext(
        steps=planned_steps(phases, recipe.optim.accumulate),
        epochs=recipe.train.resolved_epochs,
        steps_per_epoch=-(-phases[-1].train.steps // recipe.optim.accumulate),
        batch_size=recipe.train.batch_size * setup.world.size,  # of a step, over all processes
        classes=tuple(data.classes),
        class_counts=tuple(int(count) for count in counts),
        model=network.name,
        optimizer=recipe.optim.optimizer,
        lr=recipe.optim.resolved_lr,
        loss="CrossEntropyLoss",
        pretrained=recipe.model.pretrained,
        weights_mean=expected.mean,
        weights_std=expected.std,
        used_mean=used.mean,
        used_std=used.std,
        train_size=len(setup.train),
        valid_size=len(setup.valid),
        duplicates=dict(setup.duplicates),
        blank_images=setup.blank_images,
        cached=phases[-1].cached,
        settings=plain_settings(recipe.without_secrets()),  # they are written beside the tensors
    )


def write_verdicts(debugger: LiveDebugger | None, run: Run, context: RunContext) -> None:
    """Ask the rules about the ended run and write their findings, and the actions that were taken.

    Without a debugger only the rules about speed have data, where there is a profile.
    """
    profile = read_profile(run.files.profile)
    if debugger is None:
        rules = recipe_rules(run.recipe)
        if rules:
            write_findings(run.files.findings, judge(rules, Tape(context, ended=True, profile=profile)))
        return
    debugger.profile = lambda: profile  # rounded as on disk, so that `clearsight debug` gives the same findings
    write_findings(run.files.findings, debugger.conclude())
    if debugger.actions.history:
        write_json(run.files.actions, [asdict(record) for record in debugger.actions.history])
