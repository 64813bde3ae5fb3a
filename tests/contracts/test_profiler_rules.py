"""Every rule about speed keeps the contract, and none finds a fault on a healthy run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.core.context import RunContext
from clearsight.core.profile import Machine, Profile
from clearsight.core.rule import Rule
from clearsight.debugger.storage.tape import Tape
from clearsight.profiler.rules import PROFILER_RULES
from clearsight.testing.profiles import healthy_cpu, healthy_gpu, profile, profiled
from clearsight.testing.rules import ProfilerRuleContract, ReporterContract, findings
from tests.profiler.rules import other_rule_faults, sagemaker_rule_faults

NAMES = PROFILER_RULES.names()
REPORTERS = ("OverallSystemUsage", "OverallFrameworkMetrics")
FAULTS = sagemaker_rule_faults.FAULTS | other_rule_faults.FAULTS
CONTROLS = sagemaker_rule_faults.CONTROLS | other_rule_faults.CONTROLS


@pytest.mark.parametrize("name", [name for name in NAMES if name not in REPORTERS], scope="class")
class TestProfilerRules(ProfilerRuleContract):
    @pytest.fixture(autouse=True)
    def _of(self, name: str) -> None:
        self.name, self.rule = name, PROFILER_RULES.load(name)()

    def fault(self) -> Tape:
        return FAULTS[self.name]()

    def control(self) -> Tape:
        return CONTROLS[self.name]()


@pytest.mark.parametrize("name", REPORTERS, scope="class")
class TestReporters(ReporterContract):
    @pytest.fixture(autouse=True)
    def _of(self, name: str) -> None:
        self.name, self.rule = name, PROFILER_RULES.load(name)()

    def control(self) -> Tape:
        return CONTROLS[self.name]()


def test_every_rule_has_a_fault_and_a_control() -> None:
    assert set(FAULTS) == set(NAMES) - set(REPORTERS)
    assert set(CONTROLS) == set(NAMES)


@pytest.fixture(scope="module")
def default_rules() -> list[Rule]:
    return [kind() for _, kind in PROFILER_RULES if not kind.optional]


def all_found(rules: list[Rule], whole: Tape) -> list[tuple[str, str]]:
    """Return what the rules find on a run, at its end and before."""
    last = int(whole.profile.steps().steps[-1])
    views = [whole, *(whole.until(round(share * last)) for share in (0.25, 0.5, 0.75))]
    return [(finding.rule, finding.cause) for view in views for rule in rules for finding in rule.check(view)
            if finding.found]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_no_rule_finds_a_fault_on_the_control_of(name: str, default_rules: list[Rule]) -> None:
    assert all_found(default_rules, CONTROLS[name]()) == []


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("healthy", [healthy_cpu, healthy_gpu])
def test_no_rule_finds_a_fault_on_a_healthy_run(
    healthy: Callable[..., Profile], seed: int, default_rules: list[Rule]
) -> None:
    assert all_found(default_rules, profiled(healthy(seed=seed))) == []


def test_without_data_every_rule_has_not_enough_data(default_rules: list[Rule]) -> None:
    verdicts = [finding.verdict for rule in default_rules for finding in findings(rule, Tape())]
    assert set(verdicts) == {"not-enough-data"}


def readings(*names: str, most: float) -> st.SearchStrategy[dict[str, list[float]]]:
    """Values of some of the names, with gaps."""
    values = st.lists(st.floats(0, most) | st.sampled_from([0.0, most, math.nan]), min_size=1, max_size=6)
    return st.dictionaries(st.sampled_from(names), values)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    steps=st.sampled_from([0, 1, 4, 22, 60, 150]),
    seconds=st.lists(st.sampled_from([0.0, 0.01, 0.2, 3.0]), min_size=1, max_size=5),
    gauges=readings("cpu", "cpu.iowait", "tree.cpu", "memory", "shm", "gpu0", "gpu0.memory", "gpu1", most=100),
    phases=readings("data", "transfer", "forward", "backward", "optimizer", "custom", most=0.2),
    load=readings("read", "decode", "augment", "collate", "images", "bytes", most=50),
    machine=st.builds(
        Machine,
        cores=st.sampled_from([0, 1, 8]),
        threads=st.sampled_from([0, 1, 64]),
        workers=st.sampled_from([None, 0, 1, 64]),
        reading=st.sampled_from(["", "threads", "processes", "here"]),
        batch_size=st.sampled_from([0, 1, 32]),
        batch_bytes=st.sampled_from([0, 2**20]),
        shm_bytes=st.sampled_from([0, 2**20]),
        pixels_kept=st.sampled_from([None, False, True]),
    ),
    known=st.booleans(),
    ended=st.booleans(),
)
def test_no_rule_fails_on_any_profile(
    steps: int,
    seconds: list[float],
    gauges: dict[str, list[float]],
    phases: dict[str, list[float]],
    load: dict[str, list[float]],
    machine: Machine,
    known: bool,
    ended: bool,
    default_rules: list[Rule],
) -> None:
    measured = profile(steps=steps, seconds=seconds, gauges=gauges, phases=phases, load=load, machine=machine)
    view = profiled(measured, context=None if known else RunContext(), ended=ended)
    for rule in default_rules:
        for finding in findings(rule, view):
            assert json.loads(json.dumps(finding.to_json(), allow_nan=False))["rule"] == rule.name
            if finding.verdict == "not-enough-data":
                assert finding.points is not None
                assert finding.cause


def test_a_rule_lives_in_the_file_of_its_name() -> None:
    for name in NAMES:
        module = PROFILER_RULES.load(name).__module__
        assert module.removeprefix("clearsight.profiler.rules.").replace("_", "") == name.lower()
