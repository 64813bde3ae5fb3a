"""The plan of a study: its space, objectives, searcher, pruner, checks of them, and which trials can train together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.format import several
from clearsight.core.recipe import Recipe
from clearsight.core.space import Choice, Space
from clearsight.core.study import Searcher, StudyPlan
from clearsight.core.trial import METRICS, SCORES, Objective
from clearsight.models.model_names import check_name
from clearsight.models.weights_file import NOT_A_FILE, check_file
from clearsight.tuning.pruners import PRUNERS
from clearsight.tuning.searchers import SEARCHERS
from clearsight.tuning.space_syntax import format_dimension, merge_spaces, parse_space, space_from_mapping, usual_space
from clearsight.workflow.prepare.auto_freeze import OF_BACKBONE, names_backbone
from clearsight.workflow.prepare.defaults import planned_epochs, uncacheable
from clearsight.workflow.run.rules import Trusted, check_code, code_of_space

# The settings of a search that names none: they matter for every network and have ranges that fit every dataset.
DEFAULT_SEARCH = ("lr", "batch_size", "weight_decay")

# Settings in which the heads of one stack may differ.
NUMBERS = (
    *("lr", "weight_decay", "eps", "momentum", "optimizer", "warmup", "schedule", "step_size", "gamma"),
    *("batch_size", "epochs", "seed", "label_smoothing", "class_weights", "patience", "dropout", "head"),
)
# Objectives with the same value for a head in a stack and for one alone. Times are not: a stack shares its time.
_SAME_IN_STACK = (*SCORES, "parameters")

SpaceSource: TypeAlias = Mapping[str, Any] | Iterable[str] | Space | None


def space_of(names: Sequence[str], source: SpaceSource, base: Recipe) -> Space:
    """Return the space of the `--tune` names and of text, a mapping or a Space, checked against the recipe.

    What `source` has for a setting replaces its usual range. Raises the errors of clearsight.core.space.Space.check.
    """
    parts = [usual_space(names)] if names else []
    if isinstance(source, Space):
        parts.append(source)
    elif isinstance(source, Mapping):
        parts.append(space_from_mapping(source))
    elif source is not None and (texts := [source] if isinstance(source, str) else list(source)):
        parts.append(parse_space(texts))
    space = merge_spaces(*parts) if parts else usual_space(DEFAULT_SEARCH)
    space.check(base)
    return space


def check_space_file(values: Mapping[str, Any], source: Path, trusted: Trusted) -> None:
    """Raise BadValue if a file with a space would run code in a trial. values: its content."""
    check_code(code_of_space(space_from_mapping(values)), source, trusted)


def resolve_freeze(base: Recipe, names: Sequence[str], *, accelerated: bool) -> Recipe:
    """Return the recipe with `freeze` set, the same for all trials of a study that varies the settings `names`.

    Many trials share the time of one training, so that a study on CPUs tunes the head of pretrained weights, which is
    trained in seconds on cached features, unless it names a setting of training more than the head.
    accelerated: True if trials run on GPUs, or on machines that are not known.
    """
    if base.model.freeze != "auto":
        return base
    wants_backbone = names_backbone(base) or any(name in OF_BACKBONE for name in names)
    heads = base.model.pretrained and not accelerated and not wants_backbone and "freeze" not in names
    return base.replace(freeze="backbone" if heads else "none")


def space_lines(space: Space) -> list[str]:
    """Return each dimension as it is written after --space."""
    return [format_dimension(dimension) for dimension in space.dimensions]


def objectives_of(metrics: Sequence[str], base: Recipe) -> tuple[Objective, ...]:
    """Return the objectives of `--metric` texts ("accuracy", "loss:minimize"); of none, the recipe's monitor."""
    return tuple(_objective(text) for text in (metrics or [base.train.monitor]))


def _objective(text: str) -> Objective:
    metric, _, direction = text.partition(":")
    if metric not in METRICS:
        raise BadChoice(f"--metric {text}", "no such metric", got=metric, allowed=METRICS)
    directions: dict[str, Any] = {"": METRICS[metric], "max": "maximize", "min": "minimize"}
    directions |= {"maximize": "maximize", "minimize": "minimize"}
    if direction not in directions:
        allowed = ("maximize", "minimize")
        raise BadChoice(f"--metric {text}", "no such direction", got=direction, allowed=allowed)
    return Objective(metric, directions[direction])


def check_plan(plan: StudyPlan) -> None:
    """Raise BadValue or BadChoice for settings of a plan that do not fit together. Each setting is in its own range."""
    for flag, share in (("--cpus-per-trial", plan.cpus_per_trial), ("--gpus-per-trial", plan.gpus_per_trial)):
        if share is not None and plan.on == "local":
            fix = "Add --on ray, or use --parallel to share this machine."
            raise BadValue(f"{flag} {share:g}", "only a cluster uses it", fix=fix)
    if plan.parallel > plan.trials:
        fix = f"Use --parallel {plan.trials} or fewer, or raise --trials."
        raise BadValue(f"--parallel {plan.parallel}", f"the study has only {several(plan.trials, 'trial')}", fix=fix)
    names = [objective.metric for objective in plan.objectives]
    if len(set(names)) < len(names):
        raise BadValue(f"--metric {names[-1]}", "given twice", fix="Keep one.")
    # It prunes trials and picks the best epoch of each, so it must exist after every epoch.
    if names[0] not in SCORES:
        fix = f"Put one of {', '.join(SCORES)} first."
        raise BadValue(f"--metric {names[0]}", "the first metric must be a score of the validation images", fix=fix)
    allowed = (*PRUNERS, "auto")
    if plan.pruner not in allowed:
        raise BadChoice(f"--prune {plan.pruner}", "no such pruner", got=plan.pruner, allowed=allowed)
    _check_search(plan)
    _check_choices(plan)


def _check_choices(plan: StudyPlan) -> None:
    """Raise BadChoice, NotFound or BadValue for a model or a weights file in the space that every trial would miss."""
    choices = [
        (d.name, str(value)) for d in plan.space.dimensions if isinstance(d.domain, Choice) for value in d.domain.values
    ]
    for name, value in choices:
        if name == "model":
            check_name(value, "--space model=")
        elif name == "weights" and value not in NOT_A_FILE and plan.on == "local":  # other machines have other files
            check_file(Path(value).expanduser())


def _check_search(plan: StudyPlan) -> None:
    searcher_of(plan.searcher)  # raises for an unknown one
    if len(plan.objectives) > 1 and plan.pruner not in ("auto", "none"):
        # Pruning compares trials half-way by one number; of two objectives neither says which trial is behind.
        raise BadValue(f"--prune {plan.pruner}", "pruning needs a single metric", fix="Use --prune none.")
    if len(plan.objectives) > 1 and plan.searcher in ("cmaes", "asha", "hyperband"):
        fix = "Use tpe, gp, nsga2 or random."
        raise BadValue(f"--search {plan.searcher}", "this search supports a single metric", fix=fix)
    if plan.searcher == "cmaes" and plan.storage:
        # Optuna keeps the state of CMA-ES as a pickle in the storage, and what others wrote there is never unpickled.
        fix = "Remove --storage, or use --search tpe."
        raise BadValue("--search cmaes", "it cannot share its state with other machines", fix=fix)


def searcher_of(name: str) -> Searcher:
    """Return a searcher by name; raises BadChoice with the nearest name."""
    try:
        return SEARCHERS.load(name)()
    except BadChoice:
        allowed = SEARCHERS.names()
        raise BadChoice(f"--search {name}", "no such searcher", got=name, allowed=allowed) from None


def pruner_of(plan: StudyPlan, base: Recipe) -> str:
    """Return the name of the plan's pruner; for "auto" the searcher's, or none where pruning cannot help.

    A trial that trains together with others saves nothing by ending early, and with several objectives no order says
    which trial is behind.
    """
    if plan.pruner != "auto":
        return plan.pruner
    if len(plan.objectives) > 1 or stacks(plan, base):
        return "none"
    return searcher_of(plan.searcher).pruner


def stack_key(recipe: Recipe, metrics: Sequence[str]) -> str | None:
    """Return a key that is equal for recipes whose heads can train together; None for one that must train alone.

    metrics: of the objectives.
    """
    debug, train = recipe.debug, recipe.train
    must_train_alone = (
        recipe.model.freeze != "backbone"
        or uncacheable(recipe, cut=1)
        or train.ema
        or train.time_limit
        or train.precision not in ("auto", "fp32")
        or recipe.optim.clip_grad is not None
        or recipe.optim.accumulate != 1
        or any(metric not in _SAME_IN_STACK for metric in metrics)
        # The debugger saves and judges single runs, and a stack has none.
        or (debug.save or debug.rule or debug.on_finding or debug.save_every)
    )
    if must_train_alone:
        return None
    # Debugger and profiler decide nothing about the result.
    sections = [section for name, section in recipe.model_dump(mode="json").items() if name not in ("debug", "profile")]
    return json.dumps([{k: v for k, v in section.items() if k not in NUMBERS} for section in sections])


def can_stack(base: Recipe, names: Sequence[str], metrics: Sequence[str]) -> bool:
    """Return True if all trials of a study that varies the settings `names` can train together."""
    return stack_key(base, metrics) is not None and all(name in NUMBERS for name in names)


def stacks(plan: StudyPlan, base: Recipe) -> bool:
    """Return True if the trials of the plan train together in one process."""
    return can_stack(base, plan.space.names, [objective.metric for objective in plan.objectives])


def most_epochs(plan: StudyPlan, base: Recipe) -> int:
    """Return the largest number of epochs that a trial of the plan can train."""
    domains = [dimension.domain for dimension in plan.space.dimensions if dimension.name == "epochs"]
    ends = [max(map(_epochs, d.values)) if isinstance(d, Choice) else int(d.high) for d in domains]
    return max(ends, default=planned_epochs(base))


def _epochs(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 1  # None: unset, resolved once the network is known
