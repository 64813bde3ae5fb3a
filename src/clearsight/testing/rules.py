"""Contract of rules. A third party subclasses `RuleContract` in its own tests, or `ProfilerRuleContract` for a rule
about speed:

class TestMine(RuleContract):
    rule = Mine()

    def fault(self) -> Tape: ...     # a run on which the rule must find something
    def control(self) -> Tape: ...   # a healthy run, on which it must be clear
"""

from __future__ import annotations

import json
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

_SHARES = (0.25, 0.5, 0.75, 1.0)  # of a run's steps, at which it is judged


def findings(rule: Rule, view: RunView) -> list[Finding]:
    """Return all findings of a rule."""
    return list(rule.check(view))


def only(rule: Rule, view: RunView) -> Finding:
    """Return the only finding of a rule; fails where there are more or none."""
    (finding,) = rule.check(view)
    return finding


def verdict(rule: Rule, view: RunView) -> str:
    """Return the verdict of the first finding: "found", "clear" or "not-enough-data"."""
    return str(findings(rule, view)[0].verdict)


class RuleContract:
    """Specification of a rule. Subclass it as Test..., set `rule`, write `fault` and `control`."""

    rule: Rule

    def fault(self) -> Tape:
        """Return a run on which the rule must find something."""
        raise NotImplementedError

    def control(self) -> Tape:
        """Return a healthy run with all data that the rule needs, on which it must be clear."""
        raise NotImplementedError

    @pytest.fixture(params=["fault", "control"])
    def run(self, request: pytest.FixtureRequest) -> Tape:
        """Run with the fault, then the healthy one."""
        return self.fault() if request.param == "fault" else self.control()

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
            assert "\n" not in finding.cause + finding.advice  # each is one line in the terminal
            assert finding.fix or finding.advice
            assert finding.evidence
            assert all(len(series.steps) == len(series.values) > 0 for series in finding.evidence)

    def test_is_silent_on_its_control(self) -> None:
        assert [finding.verdict for finding in findings(self.rule, self.control())] == [Verdict.CLEAR]

    def test_says_what_is_missing(self) -> None:
        finding = only(self.rule, Tape())
        assert finding.verdict is Verdict.NOT_ENOUGH_DATA
        assert finding.points is not None
        assert finding.points.have < finding.points.want
        assert finding.points.of
        assert finding.cause

    def test_needs_data(self) -> None:
        assert self.rule.needs().points >= 1

    def test_is_pure(self) -> None:
        tape = self.fault()
        before = _tape_text(tape)  # rules share the tape: none may change it
        assert _findings_text(self.rule, tape) == _findings_text(self.rule, tape)
        assert _tape_text(tape) == before

    def test_live_equals_replay(self, run: Tape, tmp_path: Path) -> None:
        last = max((record.at.train_step for record in run.records), default=0)
        for share in _SHARES:
            self._replays_alike(run.until(round(share * last)), tmp_path / f"{share}")

    def _replays_alike(self, live: Tape, folder: Path) -> None:
        replay = replayed(live, folder)
        # Both: some rules wait for the end of a run.
        for live.ended in replay.ended, not replay.ended:
            replay.ended = live.ended
            assert _findings_text(self.rule, replay) == _findings_text(self.rule, live)

    def test_tolerates_gaps(self, run: Tape) -> None:
        for every in (1, 3):  # every record NaN, then each third
            gapped = [_all_nan(r) if i % every == every - 1 else r for i, r in enumerate(run.records)]
            assert findings(self.rule, Tape(run.context, gapped, ended=True))

    def test_finding_survives_json(self, run: Tape) -> None:
        for finding in findings(self.rule, run):
            text = json.dumps(finding.to_json())
            assert json.dumps(Finding.from_json(json.loads(text)).to_json()) == text  # as text: NaN differs from itself

    def test_fix_is_a_recipe(self) -> None:
        known = {name for _, name, _ in fields()}
        for finding in findings(self.rule, self.fault()):
            assert set(finding.fix) <= known
            assert Recipe().replace(**finding.fix).flat().keys() == known
            assert bool(flags(finding.fix)) == bool(finding.fix)

    def test_is_documented(self) -> None:
        assert type(self.rule).__doc__ not in (None, Rule.__doc__)
        for name, info in type(self.rule).model_fields.items():
            assert info.description, name

    def test_parameters_accept_their_aliases(self) -> None:
        kind = type(self.rule)
        for name, info in kind.model_fields.items():
            for spelling in (name, *aliases(info)):
                assert kind.parse({spelling: info.default}) == kind.parse({})
                if isinstance(info.default, int | float) and not isinstance(info.default, bool):
                    assert kind.parse({spelling: str(info.default)}) == kind.parse({})  # the command line has text only
        assert kind.parse(dict.fromkeys(kind.unused, "anything")) == kind.parse({})
        with pytest.raises(BadChoice):
            kind.parse({"no_such_parameter": 1})

    def test_explains_rules_that_exist(self) -> None:
        assert self.rule.name not in self.rule.explains
        assert len(set(self.rule.explains)) == len(self.rule.explains)
        assert set(self.rule.explains) <= {*RULES.names(), *PROFILER_RULES.names()}


class ProfilerRuleContract(RuleContract):
    """Specification of a rule about speed: its data are the profile on the tape, and its files on disk."""

    def test_is_about_speed(self) -> None:
        assert self.rule.topic == "speed"
        assert self.rule.needs().counted in ("samples", "timed_steps")

    def test_live_equals_replay(self, run: Tape, tmp_path: Path) -> None:
        measured = replayed_profile(run.profile, tmp_path / "whole")  # rounded as on disk: live and replay must agree
        live = Tape(run.context, run.records, profile=measured)
        steps = measured.steps().steps
        for share in _SHARES:
            self._replays_alike(live.until(int(share * steps[-1]) if len(steps) else 0), tmp_path / f"{share}")

    def test_rounding_on_disk_changes_no_verdict(self, run: Tape, tmp_path: Path) -> None:
        replay = with_profile(run, replayed_profile(run.profile, tmp_path))
        assert [f.verdict for f in findings(self.rule, replay)] == [f.verdict for f in findings(self.rule, run)]

    def test_tolerates_gaps(self, run: Tape) -> None:
        for every in (1, 3):
            for finding in findings(self.rule, with_profile(run, with_gaps(run.profile, every))):
                numbers = [x for x in (finding.value, finding.threshold) if x is not None]
                assert np.isfinite(numbers).all(), finding
                assert "nan" not in finding.cause.split()  # NaN is no number to show to a person

    @pytest.mark.parametrize("part", ["samples", "steps", "machine"])
    def test_tolerates_missing_measurements(self, part: str) -> None:
        tape = self.fault()
        measured = tape.profile
        without = Profile(
            None if part == "machine" else measured.machine,
            () if part == "samples" else measured.gauge_samples,
            () if part == "steps" else measured.step_times,
            () if part == "steps" else measured.all_spans,
            measured.trace,
        )
        assert findings(self.rule, with_profile(tape, without))


class ReporterContract(ProfilerRuleContract):
    """Specification of a rule that reports numbers and never finds anything; write `control` alone."""

    def fault(self) -> Tape:
        return self.control()

    def test_finds_its_fault(self) -> None:
        assert only(self.rule, self.control()).verdict is Verdict.CLEAR

    def test_says_why_and_what_to_do(self) -> None:
        finding = only(self.rule, self.control())
        assert finding.evidence
        assert all(len(series.steps) == len(series.values) > 0 for series in finding.evidence)
        assert not finding.cause


def replayed(tape: Tape, folder: Path) -> Tape:
    """Return a run whose records, a few at a time, and profile were written to disk and read back."""
    store = FileTensorStore(folder)
    store.write_context(tape.context)
    for start in range(0, len(tape.records), 7):  # few: the records of a step come in several writes
        store.append(tape.records[start : start + 7])
    store.close()
    measured = replayed_profile(tape.profile, folder / "profile")
    return Tape(store.read_context(), store.records(), ended=tape.ended, profile=measured)


def replayed_profile(profile: Profile, folder: Path) -> Profile:
    """Return a profile that was written to the files of a run's `profile` folder and read back."""
    folder.mkdir(parents=True, exist_ok=True)
    profile_folder.write_machine(folder, profile.machine)
    for rank in {0, *profile.ranks()}:  # 0 also without records: the files of an empty run
        samples = [profile_folder.gauge_line(sample) for sample in profile.gauge_samples if sample.rank == rank]
        spans = [profile_folder.span_line(span) for span in profile.all_spans if span.rank == rank]
        spans += [profile_folder.span_line(step) for step in profile.step_times if step.rank == rank]
        profile_folder.gauges_file(folder, rank).write_text("".join(samples), encoding="utf-8")
        profile_folder.spans_file(folder, rank).write_text("".join(spans), encoding="utf-8")
    if profile.trace is not None:
        profile_folder.write_trace(folder, profile.trace)
    return profile_folder.read_profile(folder)


def with_gaps(profile: Profile, every: int) -> Profile:
    """Return the profile without the gauges of each `every`-th sample and the times of each `every`-th step."""
    samples, steps = list(profile.gauge_samples), list(profile.step_times)
    samples[every - 1 :: every] = [replace(sample, values={}) for sample in samples[every - 1 :: every]]
    bare: dict[str, Any] = {"phases": {}, "device": {}, "load": {}, "padding": None}
    steps[every - 1 :: every] = [replace(step, **bare) for step in steps[every - 1 :: every]]
    return Profile(profile.machine, samples, steps, profile.all_spans, profile.trace)


def with_profile(tape: Tape, profile: Profile) -> Tape:
    """Return the same run with another profile."""
    return Tape(tape.context, tape.records, ended=tape.ended, profile=profile)


def _findings_text(rule: Rule, view: RunView) -> str:
    """Return the findings as text: a NaN in the evidence equals itself there."""
    return json.dumps([finding.to_json() for finding in rule.check(view)])


def _tape_text(tape: Tape) -> str:
    profile, records = tape.profile, [_record_text(record) for record in tape.records]
    return repr((records, profile.machine, profile.gauge_samples, profile.step_times, profile.all_spans, profile.trace))


def _record_text(record: SavedRecord) -> str:
    values = {name: getattr(record, name) for name in record.__slots__}
    return repr({name: value.tobytes() if isinstance(value, np.ndarray) else value for name, value in values.items()})


def _all_nan(record: SavedRecord) -> SavedRecord:
    match record:
        case Scalars():
            return replace(record, values=dict.fromkeys(record.values, float("nan")))
        case Snapshot():
            return replace(record, table=np.full_like(record.table, np.nan))
        case PredictionRecord():
            nan: Any = np.full_like(record.confidence, np.nan)
            return replace(record, confidence=nan, true_probability=nan)
        case RawTensor() if np.issubdtype(record.value.dtype, np.floating):
            return replace(record, value=np.full_like(record.value, np.nan))
    return record
