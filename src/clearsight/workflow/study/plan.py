"""What a study is asked to do, checked before anything is begun: every mistake is one sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.recipe import Recipe
from clearsight.core.space import Choice, Space
from clearsight.core.study import Searcher, StudyPlan
from clearsight.core.trial import METRICS, SCORES, Objective
from clearsight.tuning.pruners import PRUNERS
from clearsight.tuning.searchers import SEARCHERS
from clearsight.tuning.space_syntax import merge_spaces, parse_space, space_from_mapping, usual_space
from clearsight.workflow.prepare.cacheable import planned_epochs
from clearsight.workflow.study.stackable import can_stack

USUAL = ("lr", "batch_size", "weight_decay")  # varied where nobody said what

SpaceWords = Mapping[str, Any] | Iterable[str] | Space | None


def space_of(names: Sequence[str], said: SpaceWords, base: Recipe) -> Space:
    """The space of `--tune` names and of what was said of it: words, a mapping, or a Space; checked against the recipe.

    Raises what is wrong with it (clearsight.core.space.Space.check).
    """
    parts = [usual_space(names)] if names else []
    if isinstance(said, Space):
        parts.append(said)
    elif isinstance(said, Mapping):
        parts.append(space_from_mapping(said))
    elif said is not None and (words := [said] if isinstance(said, str) else list(said)):
        parts.append(parse_space(words))
    space = merge_spaces(*parts) if parts else usual_space(USUAL)
    space.check(base)
    return space


def objectives_of(words: Sequence[str], base: Recipe) -> tuple[Objective, ...]:
    """The objectives of `--metric` words such as "accuracy" or "loss:minimize"; the recipe's monitor without any."""
    return tuple(_objective(word) for word in (words or [base.train.monitor]))


def _objective(word: str) -> Objective:
    metric, _, way = word.partition(":")
    if metric not in METRICS:
        raise BadChoice(f"--metric {word}", "there is no such metric", got=metric, allowed=METRICS)
    ways: dict[str, Any] = {"": METRICS[metric], "max": "maximize", "min": "minimize"}
    ways |= {"maximize": "maximize", "minimize": "minimize"}
    if way not in ways:
        raise BadChoice(f"--metric {word}", "there is no such direction", got=way, allowed=("maximize", "minimize"))
    return Objective(metric, ways[way])


def check_plan(plan: StudyPlan) -> None:
    """Raise BadValue or BadChoice for a plan that cannot be carried out."""
    _positive("--trials", plan.trials)
    _positive("--parallel", plan.parallel)
    _positive("--stack", plan.stack)
    _positive("--keep", plan.keep)
    for flag, value in (("--stop-after", plan.stop_after), ("--epoch-budget", plan.epoch_budget)):
        if value is not None:
            _positive(flag, value)
    if plan.cpus_per_trial is not None and not plan.cpus_per_trial > 0:
        raise BadValue(f"--cpus-per-trial {plan.cpus_per_trial:g}", "it must be more than 0")
    if plan.gpus_per_trial is not None and not plan.gpus_per_trial >= 0:
        raise BadValue(f"--gpus-per-trial {plan.gpus_per_trial:g}", "it must be 0 or more")
    for flag, share in (("--cpus-per-trial", plan.cpus_per_trial), ("--gpus-per-trial", plan.gpus_per_trial)):
        if share is not None and plan.on == "local":
            fix = "Say --on ray too, or share this machine by --parallel."
            raise BadValue(f"{flag} {share:g}", "it is for a cluster", fix=fix)
    if plan.parallel > plan.trials:
        raise BadValue(
            f"--parallel {plan.parallel}",
            f"there are only {plan.trials} trials",
            fix=f"Say --parallel {plan.trials} or fewer, or more --trials.",
        )
    if plan.target is not None and not math.isfinite(plan.target):
        raise BadValue(f"--target {plan.target}", "it is no number that can be reached")
    if plan.time_limit is not None and not plan.time_limit > 0:
        raise BadValue(f"--time-limit {plan.time_limit:g}", "a study needs some time", fix="Say 90s, 10m or 2h.")
    names = [objective.metric for objective in plan.objectives]
    if len(set(names)) < len(names):
        raise BadValue(f"--metric {names[-1]}", "it is said twice")
    if names[0] not in SCORES:
        fix = f"Say one of {', '.join(SCORES)} first."
        raise BadValue(f"--metric {names[0]}", "the first objective must be a score of the validation split", fix=fix)
    if plan.pruner not in (*PRUNERS, "auto"):
        allowed = (*PRUNERS, "auto")
        raise BadChoice(f"--prune {plan.pruner}", "there is no such pruner", got=plan.pruner, allowed=allowed)
    _check_search(plan)


def _check_search(plan: StudyPlan) -> None:
    searcher_of(plan.searcher)  # there is one
    several = len(plan.objectives) > 1
    if several and plan.pruner not in ("auto", "none"):
        raise BadValue(f"--prune {plan.pruner}", "with several objectives nothing says which trial is behind")
    if several and plan.searcher in ("cmaes", "asha", "hyperband"):
        raise BadValue(f"--search {plan.searcher}", "it takes one objective", fix="Use tpe, gp, nsga2 or random.")
    if plan.searcher == "cmaes" and plan.storage:
        raise BadValue(
            "--search cmaes",
            "its state cannot be kept in a shared storage without pickles",
            fix="Leave --storage out, or use tpe.",
        )


def searcher_of(name: str) -> Searcher:
    """A searcher by name; raises BadChoice with the nearest."""
    try:
        return SEARCHERS.load(name)()
    except BadChoice:
        what = f"--search {name}"
        raise BadChoice(what, "there is no such searcher", got=name, allowed=SEARCHERS.names()) from None


def pruner_of(plan: StudyPlan, base: Recipe) -> str:
    """The name of the pruner, decided where it was left open.

    One that trains among others saves nothing by ending early, and with several objectives nothing says who is behind.
    """
    if plan.pruner != "auto":
        return plan.pruner
    if len(plan.objectives) > 1 or stacks(plan, base):
        return "none"
    return searcher_of(plan.searcher).pruner


def stacks(plan: StudyPlan, base: Recipe) -> bool:
    """Whether the trials train together."""
    return can_stack(base, plan.space.names, [objective.metric for objective in plan.objectives])


def most_epochs(plan: StudyPlan, base: Recipe) -> int:
    """The most epochs that a trial may train."""
    domains = [one.domain for one in plan.space.dimensions if one.name == "epochs"]
    ends = [max(map(_whole, d.values)) if isinstance(d, Choice) else int(d.high) for d in domains]
    return max(ends, default=planned_epochs(base))


def _whole(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 1


def _positive(flag: str, value: int) -> None:
    if value < 1:
        raise BadValue(f"{flag} {value}", "it must be 1 or more")


def free_folder(data: str | Path, taken: Callable[[Path], bool] = Path.exists) -> Path:
    """studies/<data>-<n> with the first n that is free."""
    stem = Path(data).expanduser().resolve().name.split(".")[0]
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in stem).strip("-") or "study"
    number = 1
    while taken(Path("studies") / f"{name}-{number}"):
        number += 1
    return Path("studies") / f"{name}-{number}"
