"""The debugger of a run: what it is told of the run, and where what it sees goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from clearsight.core.context import RunContext
from clearsight.core.files import write_json
from clearsight.core.finding import write_findings
from clearsight.core.judge import judge
from clearsight.core.profile import Profile
from clearsight.core.profile_folder import read_profile
from clearsight.core.recipe import DebugSection, Recipe
from clearsight.core.run import Run
from clearsight.core.tensors import SavedRecord
from clearsight.debugger.actions import Action
from clearsight.debugger.actions import parse_action as parse_action
from clearsight.debugger.capture.probe import Probe
from clearsight.debugger.capture.save_plan import SavePlan, make_save_plan, parse_save
from clearsight.debugger.live import LiveDebugger
from clearsight.debugger.rule_parser import select_rules
from clearsight.debugger.storage.recorder import Recorder
from clearsight.debugger.storage.saved_run import SavedRun
from clearsight.debugger.storage.tape import Tape
from clearsight.debugger.storage.tensor_store import FileTensorStore
from clearsight.training.checkpoint import Checkpoints
from clearsight.training.job import Phase
from clearsight.training.observers import ObserverList
from clearsight.training.stop import StopSignal
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.rules import BOOK, about, rules_of


def check_debugging(how: DebugSection) -> None:
    """Raise what is wrong with the debugger's settings, before anything is begun."""
    select_rules(how.rules, how.rule, BOOK)
    parse_save(how.save)
    for text in how.on_finding:
        parse_action(text, BOOK)


def actions(how: DebugSection) -> list[Action]:
    """What the recipe wants done about findings. With repairs left, a run that is lost need not be finished."""
    told = [parse_action(text, BOOK) for text in how.on_finding]
    return [*told, Action("retry", selector="severe")] if how.repair else told


def planned_steps(setting: RunSetup, phases: Sequence[Phase]) -> int:
    """Optimizer steps of the whole run."""
    return sum(phase.epochs * -(-phase.train.steps // setting.recipe.optim.accumulate) for phase in phases)


def save_plan(setting: RunSetup, phases: Sequence[Phase]) -> SavePlan | None:
    """What will be saved how often; None with the debugger off."""
    how = setting.recipe.debug
    if how.debug == "off":
        return None
    rules = about("learning", rules_of(setting.recipe))
    return make_save_plan(how.debug, planned_steps(setting, phases), how.save_every, rules, parse_save(how.save))


def build_debugger(
    run: Run,
    setting: RunSetup,
    phases: Sequence[Phase],
    announcer: ObserverList,
    stop: StopSignal,
    checkpoints: Checkpoints,
    profile: Callable[[], Profile],
) -> LiveDebugger | None:
    """The debugger of a run, taken up where its newest checkpoint is; None where it is off or another rank leads.

    profile: what the machine did so far.
    """
    plan = save_plan(setting, phases)
    if plan is None or not setting.world.leads:
        return None
    how = setting.recipe.debug
    store = FileTensorStore(run.path / "tensors")
    facts, before = run_context(setting, phases), []
    if last := checkpoints.last_step():
        store.rewind(last)
        before = list(SavedRun(run.path).tape().until(last).records)
    tape = Tape(facts, before)

    def rewind(step: int) -> Recorder:
        again = FileTensorStore(run.path / "tensors")
        again.rewind(step)
        return Recorder(again)

    def keep(record: SavedRecord) -> None:
        watch.keep(record)

    def failed(error: Exception) -> None:
        watch.fail(error)

    watch = LiveDebugger(
        rules=rules_of(setting.recipe),
        actions=actions(how),
        tape=tape,
        probe=Probe(plan.schedules, plan.depth, plan.keep, keep, planned_steps=facts.steps, failed=failed),
        recorder=Recorder(store),
        tell=announcer.finding,
        stop=stop.ask,
        good=checkpoints.keep_good,
        keep_facts=lambda: store.write_facts(watch.tape.facts),
        epochs=setting.recipe.train.passes,
        rewind=rewind,
        notice={"run": str(run.path)},
        profile=profile,
    )
    return watch


def run_context(setting: RunSetup, phases: Sequence[Phase]) -> RunContext:
    """What the rules may know of the run beside what is measured."""
    how, data, network = setting.recipe, setting.data, setting.network
    counts = np.bincount(setting.train.labels(), minlength=len(data.classes))
    used, own = network.preprocess, setting.own_preprocess
    return RunContext(
        steps=planned_steps(setting, phases),
        epochs=how.train.passes,
        steps_per_epoch=-(-phases[-1].train.steps // how.optim.accumulate),
        batch_size=how.train.batch_size * setting.world.size,
        classes=tuple(data.classes),
        class_counts=tuple(int(count) for count in counts),
        model=network.name,
        optimizer=how.optim.optimizer,
        lr=how.optim.peak,
        loss="CrossEntropyLoss",
        pretrained=how.model.weights != "none",
        weights_mean=own.mean,
        weights_std=own.std,
        used_mean=used.mean,
        used_std=used.std,
        train_size=len(setting.train),
        valid_size=len(setting.valid),
        duplicates=dict(setting.duplicates),
        cached=phases[-1].cached,
        settings=plain_settings(how),
    )


def close(watch: LiveDebugger | None, run: Run, facts: RunContext) -> None:
    """The rules' last word on a run that is over, and everything that was done about what they said, on disk.

    Without a debugger the rules about speed speak, as far as there is a profile.
    """
    profile = read_profile(run.path / "profile")
    if watch is None:
        rules = rules_of(run.recipe)
        if rules:
            write_findings(run.path / "findings.jsonl", judge(rules, Tape(facts, ended=True, profile=profile)))
        return
    watch.profile = lambda: profile  # as it lies on disk: who asks later is told the same
    write_findings(run.path / "findings.jsonl", watch.conclude())
    if watch.deeds:
        write_json(run.path / "actions.json", [asdict(deed) for deed in watch.deeds])


def plain_settings(recipe: Recipe) -> dict[str, Any]:
    """A recipe's fields as JSON values."""
    return {name: _plain(value) for name, value in recipe.flat().items()}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
