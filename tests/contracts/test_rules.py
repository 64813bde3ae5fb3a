"""Every rule keeps the contract, and none gives a false alarm on another's healthy run."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from clearsight.core.finding import Severity
from clearsight.core.rule import Rule
from clearsight.debugger.rules import RULES
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.rules import RuleContract, findings

NAMES = RULES.names()


def specification(name: str) -> ModuleType:
    """Return the tests of a rule, which have its `rule()`, `fault()` and `control()`."""
    snake = RULES.load(name).__module__.rpartition(".")[2]
    return importlib.import_module(f"tests.debugger.rules.test_{snake}")


@pytest.mark.parametrize("name", NAMES, scope="class")
class TestRules(RuleContract):
    @pytest.fixture(autouse=True)
    def _of(self, name: str) -> None:
        self.name = name
        self.rule: Rule = specification(name).rule()

    def fault(self) -> Tape:
        saved: Tape = specification(self.name).fault()
        return saved

    def control(self) -> Tape:
        saved: Tape = specification(self.name).control()
        return saved

    def test_is_the_rule_of_that_name(self) -> None:
        assert type(self.rule) is RULES.load(self.name)


@pytest.fixture(scope="module")
def default_rules() -> list[Rule]:
    return [kind() for _, kind in RULES if not kind.optional]


@pytest.mark.parametrize("name", NAMES)
def test_no_rule_gives_a_false_alarm_on_the_control_of(name: str, default_rules: list[Rule]) -> None:
    control: Tape = specification(name).control()
    points = [control, *(control.until(round(share * control.done())) for share in (0.25, 0.5, 0.75))]
    cries = [finding for view in points for rule in default_rules for finding in findings(rule, view) if finding.found]
    assert [(cry.rule, cry.cause) for cry in cries if cry.severity is not Severity.INFO] == []


def test_a_rule_lives_in_the_file_of_its_name() -> None:
    for name in NAMES:
        module = RULES.load(name).__module__
        assert module.removeprefix("clearsight.debugger.rules.").replace("_", "") == name.lower()
