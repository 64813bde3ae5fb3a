"""A finding that was shown is true at the end or resolved; what became of it is data."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.finding import Finding, Resolution, Verdict, findings_lines, read_findings, write_findings
from clearsight.core.resolution import ShownFindings


def found(rule: str, cause: str = "it happens") -> Finding:
    return Finding(rule=rule, verdict=Verdict.FOUND, cause=cause, steps=(1, 4))


def clear(rule: str, value: float | None = None) -> Finding:
    return Finding(rule=rule, verdict=Verdict.CLEAR, value=value, threshold=value and 2 * value, unit="%")


def test_what_is_still_found_is_not_resolved() -> None:
    shown = ShownFindings()
    shown.show(found("A"), 10)
    assert shown.resolve([found("A"), clear("B")], 20) == []
    assert shown.attach([found("A"), clear("B")]) == [found("A"), clear("B")]


def test_a_resolution_has_both_steps_what_was_shown_and_why() -> None:
    shown = ShownFindings()
    shown.show(found("A"), 10)
    (resolved,) = shown.resolve([clear("A", 5.0), clear("B", 5.0)], 20)
    expected = Resolution(step=20, shown=10, cause="it happens", why="it is now 5 %, the limit is 10")
    assert resolved.resolved == expected
    assert shown.resolve([clear("A", 5.0)], 30) == [], "once"
    assert [finding.resolved for finding in shown.attach([clear("A", 4.0), clear("B")])] == [expected, None]
    assert findings_lines([resolved])[0] == "resolved A at step 20: it is now 5 %, the limit is 10"


def test_too_few_data_are_a_reason_too() -> None:
    shown = ShownFindings()
    shown.show(found("A"), 10)
    (resolved,) = shown.resolve([Finding(rule="A", verdict=Verdict.NOT_ENOUGH_DATA, cause="3 of 20 steps")], 20)
    assert resolved.resolved is not None
    assert resolved.resolved.why == "there is no longer enough data to tell (3 of 20 steps)"


def test_the_log_of_a_run_tells_the_same_again(tmp_path: Path) -> None:
    shown = ShownFindings()
    for rule in ("A", "B"):
        shown.show(found(rule), 4)
    resolved = shown.resolve([clear("A", 5.0), found("B")], 20)
    write_findings(tmp_path / "log", [found("A"), found("B"), *resolved])
    again = ShownFindings(read_findings(tmp_path / "log"))
    last = [clear("A", 5.0), clear("B", 1.0)]
    assert again.resolve(last, 30) == shown.resolve(last, 30)
    assert again.attach(last) == shown.attach(last)


def test_what_comes_back_is_not_resolved() -> None:
    shown = ShownFindings()
    shown.show(found("A"), 10)
    shown.resolve([clear("A")], 20)
    shown.show(found("A"), 30)
    assert shown.attach([found("A")]) == [found("A")]
