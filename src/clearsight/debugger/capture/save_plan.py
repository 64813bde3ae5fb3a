"""Saving: what is saved how often, worked out from the plan, the wishes and what the rules need, and said in words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from clearsight.core.errors import BadChoice, BadValue, nearest
from clearsight.core.rule import Needs, Rule
from clearsight.core.tensors import COLLECTIONS, MODES, Mode, SaveSchedule

Depth = Literal["light", "full"]
DEPTHS: tuple[Depth, ...] = ("light", "full")

_LIGHT_POINTS, _LIGHT_CLOSEST = 50, 5  # a light run has about so many points, and at most one in so many steps
_FULL_EVERY = 10
_UNPLANNED = 10
_KEYS = ("every", "start", "end", "steps", "mode", "epoch")


@dataclass(frozen=True, slots=True)
class SaveRequest:
    """Whole tensors to keep: a collection, or those whose names a pattern is found in.

    schedule: None for the steps at which statistics are saved.  modes: in which.  per_epoch: at an epoch's first step.
    """

    collection: str = ""
    pattern: re.Pattern[str] | None = None
    schedule: SaveSchedule | None = None
    modes: tuple[Mode, ...] = ("train",)
    per_epoch: bool = False

    def wants(self, collection: str, name: str) -> bool:
        """Whether the tensor is among those meant."""
        return collection == self.collection if self.pattern is None else self.pattern.search(name) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class SavePlan:
    """schedules: of statistics, by mode.  keep: whole tensors.  lines: what is saved, in words."""

    depth: Depth = "light"
    schedules: Mapping[Mode, SaveSchedule] = field(default_factory=dict)
    keep: tuple[SaveRequest, ...] = ()
    lines: tuple[str, ...] = ()


def make_save_plan(
    depth: Depth = "light",
    planned_steps: int = 0,
    save_every: int | None = None,
    rules: Sequence[Rule] = (),
    keep: Sequence[SaveRequest] = (),
) -> SavePlan:
    """Schedules for a run of `planned_steps` optimizer steps (0: not known).

    light: statistics about 50 times a run, never closer than every 5 steps.  full: every 10 steps at most.
    Where that, or `save_every`, gives a rule fewer points than it needs, the interval is lowered until it has them.
    """
    if depth not in DEPTHS:
        raise BadChoice(f"save {depth!r}", "there is no such depth", got=depth, allowed=DEPTHS)
    every = save_every or _interval(depth, planned_steps)
    lines, poor = [], []
    if planned_steps:
        every, raised = _raised(every, planned_steps, rules)
        lines += raised
        poor = [line for rule in rules if (line := _lacking(rule, planned_steps, every))]
    schedule = SaveSchedule(every=every)
    kind = "sampled statistics" if depth == "light" else "statistics of all elements"
    if planned_steps:
        points = schedule.points(planned_steps)
        head = f"{planned_steps:,} steps planned, {kind} every {_steps(every)}: {_points(points)}"
    else:
        head = f"steps not planned, {kind} every {_steps(every)}: how many points the rules get cannot be foretold"
    kept = [f"whole tensors of {_said(wish)}" for wish in keep]
    return SavePlan(
        depth=depth,
        schedules={"train": schedule},
        keep=tuple(keep),
        lines=(head, *lines, *poor, *kept),
    )


def parse_save(words: Sequence[str]) -> tuple[SaveRequest, ...]:
    """Wishes out of words: `gradients`, `layer4.*weight`, `gradients@every=50,start=1,end=100`, `fc@steps=1,5,9`,
    `activations@mode=eval`, `weights@epoch`.

    Raises BadChoice for a collection or key that is misspelt, BadValue for a pattern or number that cannot be read.
    """
    return tuple(_wish(word.strip()) for word in words)


def parse_save_setting(save: str | Sequence[str]) -> tuple[Depth, tuple[SaveRequest, ...]]:
    """Depth and wishes out of "light", "full" or a list of these and of `parse_save` words; raises BadChoice."""
    words = (save,) if isinstance(save, str) else tuple(save)
    if isinstance(save, str) and save not in DEPTHS:
        raise BadChoice(
            f"save {save!r}",
            "there is no such depth",
            got=save,
            allowed=DEPTHS,
            fix="Whole tensors are asked for in a list: save=['gradients'].",
        )
    depth: Depth = "full" if "full" in words else "light"
    return depth, parse_save([word for word in words if word not in DEPTHS])


def _interval(depth: Depth, planned: int) -> int:
    if not planned:
        return _UNPLANNED
    light = max(_LIGHT_CLOSEST, planned // _LIGHT_POINTS)
    return light if depth == "light" else min(light, _FULL_EVERY)


def _raised(every: int, planned: int, rules: Sequence[Rule]) -> tuple[int, list[str]]:
    """The interval at which every rule that can get its points gets them, and why."""
    lowest, needy = every, []
    for rule in rules:
        needs = rule.needs()
        if not _of_snapshots(needs) or needs.points > planned:
            continue
        wanted = every
        while wanted > 1 and SaveSchedule(every=wanted).points(planned) < needs.points:
            wanted -= 1
        if wanted < every:
            needy.append((wanted, rule.name))
            lowest = min(lowest, wanted)
    if lowest == every:
        return every, []
    names = [name for _, name in sorted(needy)]
    return lowest, [f"interval lowered from {every} to {lowest} for {_listed(names)}"]


def _lacking(rule: Rule, planned: int, every: int) -> str:
    """What a rule will be short of; "" for nothing that can be foretold."""
    needs = rule.needs()
    if needs.mode != "train":
        return ""
    if _of_snapshots(needs):
        have = SaveSchedule(every=every).points(planned)
        return f"{rule.name} gets {have} of the {needs.points} points that it needs" if have < needs.points else ""
    if needs.counted == "steps" and planned < needs.points:
        return f"{rule.name} gets {planned} of the {needs.points} steps that it needs"
    return ""


def _of_snapshots(needs: Needs) -> bool:
    return needs.counted == "snapshots" and needs.mode == "train"


def _wish(word: str) -> SaveRequest:
    what, at, suffix = word.partition("@")
    if not what:
        raise BadValue(f"save {word!r}", "it names neither a collection nor a pattern")
    told = _suffix(word, suffix) if at else {}
    number = {key: _number(word, key, told[key]) for key in ("every", "start", "end") if key in told}
    steps = frozenset(_number(word, "steps", part) for part in told.get("steps", "").split(",") if part)
    schedule = None
    if number or steps:
        every = number.pop("every", 0 if steps else 1)
        schedule = SaveSchedule(every=every, steps=steps, **number)
    mode = told.get("mode", "train")
    modes = tuple(known for known in MODES if known == mode)
    if not modes:
        raise BadChoice(f"save {word!r}", "there is no such mode", got=mode, allowed=MODES)
    collection, pattern = _meant(word, what)
    return SaveRequest(collection, pattern, schedule, modes, "epoch" in told)


def _suffix(word: str, suffix: str) -> dict[str, str]:
    """`every=50,steps=1,5` as keys and values; a number alone belongs to the key before it."""
    told: dict[str, str] = {}
    last = ""
    for part in suffix.split(","):
        key, equals, value = part.strip().partition("=")
        if not equals and last == "steps":
            told[last] += f",{key}"
        elif key not in _KEYS or (bool(equals) == (key == "epoch")):
            raise BadChoice(f"save {word!r}", f"{part.strip()!r} says nothing", got=key, allowed=_KEYS)
        else:
            told[key], last = value, key
    return told


def _number(word: str, key: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadValue(f"save {word!r}", f"{key} is a number of steps, not {text!r}") from None


def _meant(word: str, what: str) -> tuple[str, re.Pattern[str] | None]:
    if what in COLLECTIONS:
        return what, None
    if re.fullmatch(r"[a-z]+", what) and nearest(what, COLLECTIONS):
        raise BadChoice(f"save {word!r}", "there is no such collection", got=what, allowed=COLLECTIONS)
    try:
        return "", re.compile(what)
    except re.error as error:
        raise BadValue(f"save {word!r}", f"the pattern cannot be read ({error})") from None


def _said(wish: SaveRequest) -> str:
    what = wish.collection or f"names with {wish.pattern.pattern if wish.pattern else ''}"
    if wish.per_epoch:
        when = "once per epoch"
    elif wish.schedule is None:
        when = "whenever statistics are saved"
    else:
        listed = [f"at {'step' if len(wish.schedule.steps) == 1 else 'steps'} {_numbers(wish.schedule.steps)}"]
        regular = f"every {_steps(wish.schedule.every)}"
        if wish.schedule.start > 1:
            regular += f" from {wish.schedule.start}"
        if wish.schedule.end is not None:
            regular += f" before {wish.schedule.end}"
        when = " and ".join([regular] * bool(wish.schedule.every) + listed * bool(wish.schedule.steps))
    return f"{what} {when}" + ("" if wish.modes == ("train",) else f" in {', '.join(wish.modes)}")


def _numbers(steps: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(steps)))


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _steps(every: int) -> str:
    return "step" if every == 1 else f"{every} steps"


def _points(points: int) -> str:
    return "1 point" if points == 1 else f"{points} points"
