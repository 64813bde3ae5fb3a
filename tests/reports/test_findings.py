from __future__ import annotations

from clearsight.reports.facts import RunReportData
from clearsight.reports.findings import findings, measured, quantity, sentence
from clearsight.reports.section import PageSection
from tests.reports.watched import clear, curve, found


def shown(facts: RunReportData) -> PageSection:
    section = findings(facts)
    assert section is not None
    return section


def test_no_rule_asked_nothing_shown() -> None:
    assert findings(RunReportData(name="r", status="completed")) is None


def test_root_causes_come_with_all_that_is_known_of_them(watched: RunReportData) -> None:
    first = shown(watched).values["causes"][0]
    assert first["root"]["fix"] == "--lr 0.0001 --warmup 0.1"
    assert first["root"]["topic"] == "learning"
    assert dict(first["root"]["known"]) == {
        "measured": "0.41 of the loss, held against 0.15 of the loss",
        "steps": "40 to 160",
        "sure": "93.0%",
    }
    assert [line.name for line in first["root"]["lines"]] == ["loss", "gradient norm"]
    assert first["names"] == "LossOscillating"
    assert first["consequences"][0]["cause"] == "The loss swings by 0.48 around its course."


def test_other_places_of_the_same_rule_are_named_and_then_counted() -> None:
    many = [found("DeadRelu", subject=f"layer{i}", unit="%", value=60 + i, threshold=50) for i in range(20)]
    (cause,) = shown(RunReportData(name="r", status="completed", findings=many)).values["causes"]
    assert cause["also"][0] == "layer1; 61%, held against 50%; steps 40 to 160"
    assert (len(cause["also"]), cause["left"]) == (8, 11)


def test_where_nothing_was_found_that_is_said() -> None:
    section = shown(RunReportData(name="r", status="completed", findings=[clear("A"), clear("B")]))
    assert (section.values["causes"], section.values["counts"]) == ([], "2 clear")
    assert section.scripts == ()


def test_evidence_that_is_empty_is_not_drawn() -> None:
    bare = found("A", evidence=(curve("loss", points=0), curve("loss")))
    (cause,) = shown(RunReportData(name="r", status="completed", findings=[bare])).values["causes"]
    assert len(cause["root"]["lines"]) == 1


def test_words_become_sentences_and_numbers_keep_their_unit() -> None:
    assert sentence("the loss rose") == "The loss rose."
    assert sentence("Was it 3.5? ") == "Was it 3.5?"
    assert sentence("") == ""
    assert quantity(12.34, "%") == "12.34%"
    assert quantity(12.34, "% of the loss") == "12.34% of the loss"
    assert quantity(3, "") == "3"
    assert measured(found("A", value=2.0, threshold=None, unit="steps")) == "2 steps"
    assert measured(found("A", value=None)) == ""
