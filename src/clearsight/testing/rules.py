"""What every rule must keep to. A third party subclasses `RuleContract` in its own tests, or `ProfilerRuleContract` for
a rule that looks at a run's profile:

class TestMine(RuleContract):
    rule = Mine()

    def fault(self) -> Tape: ...     # a run on which it must speak
    def control(self) -> Tape: ...   # a healthy one, on which it must look and find nothing
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearsight.core import profile_folder
from clearsight.core.errors import BadChoice
from clearsight.core.finding import Finding, Verdict, flags
from clearsight.core.profile import Profile
from clearsight.core.recipe import Recipe, fields
from clearsight.core.rule import Rule
from clearsight.core.settings import aliases
from clearsight.core.tensors import PredictionRecord, RawTensor, SavedRecord, Scalars, Snapshot
from clearsight.core.view import RunView
from clearsight.debugger.rules import RULES
from clearsight.debugger.storage.tape import Tape
from clearsight.debugger.storage.tensor_store import FileTensorStore
from clearsight.profiler.rules import PROFILER_RULES

_POINTS = (0.25, 0.5, 0.75, 1.0)  # of a run at which it is judged


def findings(rule: Rule, view: RunView) -> list[Finding]:
    """Everything that a rule says."""
    return list(rule.check(view))


def only(rule: Rule, view: RunView) -> Finding:
    """The one thing that a rule says; fails where it says more or nothing."""
    (finding,) = rule.check(view)
    return finding


def verdict(rule: Rule, view: RunView) -> str:
    """The rule's verdict, by its first finding: "found", "clear" or "not-enough-data"."""
    return str(findings(rule, view)[0].verdict)


class RuleContract:
    """Subclass it as Test..., set `rule`, write `fault` and `control`."""

    rule: Rule

    def fault(self) -> Tape:
        """A run on which the rule must find something."""
        raise NotImplementedError

    def control(self) -> Tape:
        """A healthy run with all that the rule needs, on which it must be clear."""
        raise NotImplementedError

    def test_finds_its_fault(self) -> None:
        found = findings(self.rule, self.fault())
        assert found
        for finding in found:
            assert finding.verdict is Verdict.FOUND, finding
            assert finding.rule == self.rule.name
            assert finding.steps is not None
            assert 0 <= finding.steps[0] <= finding.steps[1]
            assert finding.value is not None
            assert finding.threshold is not None
            assert np.isfinite(finding.threshold)
            assert 0 < finding.confidence <= 1

    def test_says_why_and_what_to_do(self) -> None:
        for finding in findings(self.rule, self.fault()):
            assert finding.cause.strip()
            assert "\n" not in finding.cause + finding.advice
            assert finding.fix or finding.advice
            assert finding.evidence
            assert all(len(series.steps) == len(series.values) > 0 for series in finding.evidence)

    def test_is_silent_on_its_control(self) -> None:
        assert [finding.verdict for finding in findings(self.rule, self.control())] == [Verdict.CLEAR]

    def test_says_what_is_missing(self) -> None:
        (finding,) = findings(self.rule, Tape())
        assert finding.verdict is Verdict.NOT_ENOUGH_DATA
        assert finding.points is not None
        assert finding.points.have < finding.points.want
        assert finding.points.of
        assert finding.cause

    def test_needs_something(self) -> None:
        assert self.rule.needs().points >= 1

    def test_is_pure(self) -> None:
        tape = self.fault()
        before = [_plain(record) for record in tape.records]
        assert _said(self.rule, tape) == _said(self.rule, tape)
        assert [_plain(record) for record in tape.records] == before

    @pytest.mark.parametrize("which", ["fault", "control"])
    def test_live_equals_replay(self, which: str, tmp_path: Path) -> None:
        live: Tape = getattr(self, which)()
        for share in _POINTS:
            step = round(share * max((record.at.train_step for record in live.records), default=0))
            heard = live.until(step)
            kept = replayed(heard, tmp_path / f"{share}")
            for heard.ended in kept.ended, not kept.ended:
                kept.ended = heard.ended
                assert _said(self.rule, kept) == _said(self.rule, heard)

    @pytest.mark.parametrize("which", ["fault", "control"])
    def test_bears_gaps(self, which: str) -> None:
        whole: Tape = getattr(self, which)()
        for every in (1, 3):
            assert findings(self.rule, Tape(whole.facts, _with_gaps(whole.records, every), ended=True))

    @pytest.mark.parametrize("which", ["fault", "control"])
    def test_finding_survives_json(self, which: str) -> None:
        for finding in findings(self.rule, getattr(self, which)()):
            text = json.dumps(finding.to_json())
            assert json.dumps(Finding.from_json(json.loads(text)).to_json()) == text

    def test_fix_is_a_recipe(self) -> None:
        known = {name for _, name, _ in fields()}
        for finding in findings(self.rule, self.fault()):
            assert set(finding.fix) <= known
            assert Recipe().replace(**finding.fix).flat().keys() == known
            assert bool(flags(finding.fix)) == bool(finding.fix)

    def test_says_when_and_why(self) -> None:
        assert type(self.rule).__doc__ not in (None, Rule.__doc__)
        for name, info in type(self.rule).model_fields.items():
            assert info.description, name

    def test_parameters_go_by_name_and_by_old_name(self) -> None:
        kind = type(self.rule)
        for name, info in kind.model_fields.items():
            for spelling in (name, *aliases(info)):
                assert kind.parse({spelling: info.default}) == kind.parse({})
                if isinstance(info.default, int | float) and not isinstance(info.default, bool):
                    assert kind.parse({spelling: str(info.default)}) == kind.parse({})
        assert kind.parse(dict.fromkeys(kind.unused, "anything")) == kind.parse({})
        with pytest.raises(BadChoice):
            kind.parse({"no_such_parameter": 1})

    def test_explains_rules_that_exist(self) -> None:
        assert self.rule.name not in self.rule.explains
        assert len(set(self.rule.explains)) == len(self.rule.explains)
        assert set(self.rule.explains) <= {*RULES.names(), *PROFILER_RULES.names()}


class ProfilerRuleContract(RuleContract):
    """The same for rules about speed: their data is the profile on the tape, and its files on disk."""

    def test_is_about_speed(self) -> None:
        assert self.rule.topic == "speed"
        assert self.rule.needs().counted in ("looks", "timed")

    def test_is_pure(self) -> None:
        tape = self.fault()
        before = _measured(tape.profile)
        assert _said(self.rule, tape) == _said(self.rule, tape)
        assert _measured(tape.profile) == before

    @pytest.mark.parametrize("which", ["fault", "control"])
    def test_live_equals_replay(self, which: str, tmp_path: Path) -> None:
        whole: Tape = getattr(self, which)()
        measured = kept_profile(whole.profile, tmp_path / "whole")
        live = Tape(whole.facts, whole.records, profile=measured)
        steps = measured.steps().steps
        for share in _POINTS:
            heard = live.until(int(share * steps[-1]) if len(steps) else 0)
            replay = replayed(heard, tmp_path / f"{share}")
            for heard.ended in replay.ended, not replay.ended:
                replay.ended = heard.ended
                assert _said(self.rule, replay) == _said(self.rule, heard)

    @pytest.mark.parametrize("which", ["fault", "control"])
    def test_rounding_on_disk_changes_no_verdict(self, which: str, tmp_path: Path) -> None:
        made: Tape = getattr(self, which)()
        kept = Tape(made.facts, made.records, ended=made.ended, profile=kept_profile(made.profile, tmp_path))
        assert [f.verdict for f in findings(self.rule, kept)] == [f.verdict for f in findings(self.rule, made)]

    @pytest.mark.parametrize("which", ["fault", "control"])
    def test_bears_gaps(self, which: str) -> None:
        whole: Tape = getattr(self, which)()
        for every in (1, 3):
            for finding in findings(self.rule, with_profile(whole, gappy(whole.profile, every))):
                numbers = [x for x in (finding.value, finding.threshold) if x is not None]
                assert np.isfinite(numbers).all(), finding
                assert "nan" not in finding.cause.split()

    @pytest.mark.parametrize("what", ["looks", "steps", "machine"])
    def test_bears_what_was_never_measured(self, what: str) -> None:
        whole = self.fault()
        measured = whole.profile
        without = Profile(
            None if what == "machine" else measured.machine,
            () if what == "looks" else measured.looks,
            () if what == "steps" else measured.timed,
            () if what == "steps" else measured.stretches,
            measured.trace,
        )
        assert findings(self.rule, with_profile(whole, without))


class ReporterContract(ProfilerRuleContract):
    """For rules that report numbers and never find anything; write `control` alone."""

    def fault(self) -> Tape:
        return self.control()

    def test_finds_its_fault(self) -> None:
        (finding,) = findings(self.rule, self.control())
        assert finding.verdict is Verdict.CLEAR

    def test_says_why_and_what_to_do(self) -> None:
        (finding,) = findings(self.rule, self.control())
        assert finding.evidence
        assert all(len(series.steps) == len(series.values) > 0 for series in finding.evidence)
        assert not finding.cause


def replayed(tape: Tape, folder: Path) -> Tape:
    """What is read back of a run whose records, a few at a time, and profile went to disk."""
    store = FileTensorStore(folder)
    store.write_facts(tape.facts)
    for start in range(0, len(tape.records), 7):
        store.append(tape.records[start : start + 7])
    store.close()
    measured = kept_profile(tape.profile, folder / "profile")
    return Tape(store.read_facts(), store.records(), ended=tape.ended, profile=measured)


def kept_profile(profile: Profile, folder: Path) -> Profile:
    """What is read back of a profile that went to the files of a run's `profile` folder."""
    folder.mkdir(parents=True, exist_ok=True)
    profile_folder.write_machine(folder, profile.machine)
    for rank in {0, *profile.ranks()}:
        looks = [profile_folder.gauge_line(look) for look in profile.looks if look.rank == rank]
        spans = [profile_folder.span_line(span) for span in profile.stretches if span.rank == rank]
        spans += [profile_folder.span_line(step) for step in profile.timed if step.rank == rank]
        profile_folder.gauges_file(folder, rank).write_text("".join(looks), encoding="utf-8")
        profile_folder.spans_file(folder, rank).write_text("".join(spans), encoding="utf-8")
    if profile.trace is not None:
        profile_folder.write_trace(folder, profile.trace)
    return profile_folder.read_profile(folder)


def gappy(profile: Profile, every: int) -> Profile:
    """The profile without the gauges of each `every`-th look and what was timed of each `every`-th step."""
    looks = [replace(g, values={}) if i % every == every - 1 else g for i, g in enumerate(profile.looks)]
    steps = [
        replace(step, phases={}, device={}, load={}, padding=None) if i % every == every - 1 else step
        for i, step in enumerate(profile.timed)
    ]
    return Profile(profile.machine, looks, steps, profile.stretches, profile.trace)


def with_profile(tape: Tape, profile: Profile) -> Tape:
    """The same run with another profile."""
    return Tape(tape.facts, tape.records, ended=tape.ended, profile=profile)


def _said(rule: Rule, view: RunView) -> str:
    """Findings as text: a NaN in the evidence equals itself there."""
    return json.dumps([finding.to_json() for finding in rule.check(view)])


def _measured(profile: Profile) -> str:
    """A profile with all its numbers."""
    return repr((profile.machine, profile.looks, profile.timed, profile.stretches, profile.trace))


def _plain(record: SavedRecord) -> str:
    """A record with all its numbers."""
    held = {name: getattr(record, name) for name in record.__slots__}
    return repr({name: value.tobytes() if isinstance(value, np.ndarray) else value for name, value in held.items()})


def _with_gaps(records: Iterable[SavedRecord], every: int) -> list[SavedRecord]:
    """The records with each `every`-th turned into NaN."""
    return [_gap(record) if place % every == every - 1 else record for place, record in enumerate(records)]


def _gap(record: SavedRecord) -> SavedRecord:
    match record:
        case Scalars():
            return replace(record, values=dict.fromkeys(record.values, float("nan")))
        case Snapshot():
            return replace(record, table=np.full_like(record.table, np.nan))
        case PredictionRecord():
            gap: Any = np.full_like(record.confidence, np.nan)
            return replace(record, confidence=gap, true_probability=gap)
        case RawTensor() if np.issubdtype(record.value.dtype, np.floating):
            return replace(record, value=np.full_like(record.value, np.nan))
    return record
