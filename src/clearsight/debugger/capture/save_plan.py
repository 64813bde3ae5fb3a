"""SavePlan: which statistics and whole tensors are saved, and at which steps.

It follows from the length of the run, from the requests of the user and from what the rules need.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from clearsight.core.errors import BadChoice, BadValue, nearest
from clearsight.core.rule import Rule
from clearsight.core.tensors import COLLECTIONS, MODES, Mode, SaveSchedule

Depth = Literal["light", "full"]
DEPTHS: tuple[Depth, ...] = ("light", "full")

# A light run must cost at most 5 % (docs/debug.md): about 50 snapshots a run, and never more than one in 5 steps.
_LIGHT_POINTS, _LIGHT_CLOSEST = 50, 5
_FULL_EVERY = 10
_UNPLANNED_EVERY = 10  # without a planned length: a short run still gets points, a long one stays cheap
_KEYS = ("every", "start", "end", "steps", "mode", "epoch")


@dataclass(frozen=True, slots=True)
class SaveRequest:
    """Whole tensors to save: a collection, or those whose names a pattern is found in.

    schedule: None for the steps at which statistics are saved.  per_epoch: at an epoch's first step.
    """

    collection: str = ""
    pattern: re.Pattern[str] | None = None
    schedule: SaveSchedule | None = None
    mode: Mode = "train"
    per_epoch: bool = False

    def matches(self, collection: str, name: str) -> bool:
        """Return True if the tensor is requested."""
        return collection == self.collection if self.pattern is None else self.pattern.search(name) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class SavePlan:
    """Schedules of the statistics by mode, requests of whole tensors, and both in words (lines)."""

    depth: Depth = "light"
    schedules: Mapping[Mode, SaveSchedule] = field(default_factory=dict)
    requests: tuple[SaveRequest, ...] = ()
    lines: tuple[str, ...] = ()


def make_save_plan(
    depth: Depth = "light",
    planned_steps: int = 0,
    save_every: int | None = None,
    rules: Sequence[Rule] = (),
    requests: Sequence[SaveRequest] = (),
) -> SavePlan:
    """Return the plan of a run of `planned_steps` optimizer steps (0: not known).

    light: statistics about 50 times a run, never closer than every 5 steps.  full: every 10 steps at most.
    Where that, or `save_every`, gives a rule fewer points than it needs, the interval is lowered until it has them.
    """
    every = save_every or _interval(depth, planned_steps)
    kind = "sampled statistics" if depth == "light" else "statistics of all elements"
    if planned_steps:
        every, reasons = _lowered_interval(every, planned_steps, rules)
        points = SaveSchedule(every=every).points(planned_steps)
        head = f"{planned_steps:,} steps planned, {kind} every {_steps(every)}: "
        head += "1 point" if points == 1 else f"{points} points"
        lines = [head, *reasons, *filter(None, (_shortage(rule, planned_steps, every) for rule in rules))]
    else:
        lines = [f"number of steps not known, {kind} every {_steps(every)}; the rules may get too few points"]
    lines += [f"whole tensors of {_describe(request)}" for request in requests]
    # No statistics of evaluations: weights do not change there, and their scores are saved anyway.
    schedules: dict[Mode, SaveSchedule] = {"train": SaveSchedule(every=every)}
    return SavePlan(depth=depth, schedules=schedules, requests=tuple(requests), lines=tuple(lines))


def parse_save(words: Sequence[str]) -> tuple[SaveRequest, ...]:
    """Return the requests of words: `gradients`, `layer4.*weight`, `gradients@every=50,start=1,end=100`,
    `fc@steps=1,5,9`, `activations@mode=eval`, `weights@epoch`.

    Raises BadChoice for a collection or key that is misspelt, BadValue for a pattern or number that cannot be read.
    """
    return tuple(_request(word.strip()) for word in words)


def parse_save_setting(save: str | Sequence[str]) -> tuple[Depth, tuple[SaveRequest, ...]]:
    """Return depth and requests of "light", "full" or a list of these and of `parse_save` words; raises BadChoice."""
    words = [save] if isinstance(save, str) else save
    if isinstance(save, str) and save not in DEPTHS:
        fix = "Request whole tensors in a list: save=['gradients']."
        raise BadChoice(f"save {save!r}", "there is no such depth", got=save, allowed=DEPTHS, fix=fix)
    depth: Depth = "full" if "full" in words else "light"
    return depth, parse_save([word for word in words if word not in DEPTHS])


def _interval(depth: Depth, planned: int) -> int:
    # Without a planned length neither 50 points nor a bound on the cost can be kept: a constant interval.
    if not planned:
        return _UNPLANNED_EVERY
    light = max(_LIGHT_CLOSEST, planned // _LIGHT_POINTS)
    return light if depth == "light" else min(light, _FULL_EVERY)


def _lowered_interval(every: int, planned: int, rules: Sequence[Rule]) -> tuple[int, list[str]]:
    """Return the interval at which every rule that can get its points gets them, and the reason in words."""
    needy = []
    for rule in rules:
        needs = rule.needs()
        # A rule that needs more points than the run has steps is not helped by any interval.
        if needs.counted == "snapshots" and needs.mode == "train" and needs.points <= planned:
            # The longest interval that suffices, because each snapshot costs time.
            shorter = range(every, 1, -1)
            enough = next((e for e in shorter if SaveSchedule(every=e).points(planned) >= needs.points), 1)
            if enough < every:
                needy.append((enough, rule.name))
    if not needy:
        return every, []
    needy.sort()
    *names, last = (name for _, name in needy)
    listed = f"{', '.join(names)} and {last}" if names else last
    return needy[0][0], [f"interval lowered from {every} to {needy[0][0]} for {listed}"]


def _shortage(rule: Rule, planned: int, every: int) -> str:
    """Return which points a rule will lack, in words; "" where it lacks none or that depends on the run."""
    needs = rule.needs()
    if needs.counted not in ("snapshots", "steps") or needs.mode != "train":
        return ""
    points, unit = planned, "steps"
    if needs.counted == "snapshots":
        points, unit = SaveSchedule(every=every).points(planned), "points"
    return f"{rule.name} gets {points} of the {needs.points} {unit} that it needs" if points < needs.points else ""


def _request(word: str) -> SaveRequest:
    target, at, suffix = word.partition("@")
    if not target:
        raise BadValue(f"save {word!r}", "it names neither a collection nor a pattern")
    options = _options(word, suffix) if at else {}
    number = {key: _number(word, key, options[key]) for key in ("every", "start", "end") if key in options}
    steps = frozenset(_number(word, "steps", part) for part in options.get("steps", "").split(",") if part)
    regular = {"every": 0 if steps else 1, **number}
    schedule = SaveSchedule(steps=steps, **regular) if number or steps else None
    mode = next((known for known in MODES if known == options.get("mode", "train")), None)
    if mode is None:
        raise BadChoice(f"save {word!r}", "there is no such mode", got=options["mode"], allowed=MODES)
    collection, pattern = _target(word, target)
    return SaveRequest(collection, pattern, schedule, mode, "epoch" in options)


def _options(word: str, suffix: str) -> dict[str, str]:
    """Return `every=50,steps=1,5` as keys and values; a number alone belongs to the key `steps` before it."""
    options: dict[str, str] = {}
    last = ""
    for part in suffix.split(","):
        key, equals, value = part.strip().partition("=")
        if not equals and last == "steps":
            options[last] += f",{key}"
        elif key not in _KEYS or (bool(equals) == (key == "epoch")):
            raise BadChoice(f"save {word!r}", f"{part.strip()!r} is no option", got=key, allowed=_KEYS)
        else:
            options[key], last = value, key
    return options


def _number(word: str, key: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadValue(f"save {word!r}", f"{key} must be a number of steps, not {text!r}") from None


def _target(word: str, target: str) -> tuple[str, re.Pattern[str] | None]:
    if target in COLLECTIONS:
        return target, None
    # A plain word close to a collection is a typo, although it would be a valid pattern too.
    if re.fullmatch(r"[a-z]+", target) and nearest(target, COLLECTIONS):
        raise BadChoice(f"save {word!r}", "there is no such collection", got=target, allowed=COLLECTIONS)
    try:
        return "", re.compile(target)
    except re.error as error:
        raise BadValue(f"save {word!r}", f"the pattern is no regular expression ({error})") from None


def _describe(request: SaveRequest) -> str:
    target = request.collection or f"names with {request.pattern.pattern if request.pattern else ''}"
    timing = _describe_schedule(request.schedule) if request.schedule else "whenever statistics are saved"
    if request.per_epoch:
        timing = "once per epoch"
    return f"{target} {timing}" + ("" if request.mode == "train" else f" in {request.mode}")


def _describe_schedule(schedule: SaveSchedule) -> str:
    steps = f"at {'step' if len(schedule.steps) == 1 else 'steps'} {', '.join(map(str, sorted(schedule.steps)))}"
    regular = f"every {_steps(schedule.every)}"
    if schedule.start > 1:
        regular += f" from {schedule.start}"
    if schedule.end is not None:
        regular += f" before {schedule.end}"
    return " and ".join([regular] * bool(schedule.every) + [steps] * bool(schedule.steps))


def _steps(every: int) -> str:
    return "step" if every == 1 else f"{every} steps"
