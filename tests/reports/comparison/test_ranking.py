"""Which run is best, and whether that is chance."""

from __future__ import annotations

from clearsight.reports.comparison.ranking import p_value, rank_runs
from tests.reports.compared import compared, first


def test_the_same_images_decide_where_they_are_known() -> None:
    found = rank_runs([compared("worse", right=first(70)), compared("better", right=first(85))])
    (contest,) = found.contests
    assert found.best == ("better",)
    assert (contest.against, contest.best_alone, contest.other_alone, contest.images) == ("worse", 15, 0, 100)
    assert contest.beyond
    assert found.sentences == (
        "better is best: it gets 85.0% of 100 test images right (95% interval 76.7% to 90.7%).",
        "Its lead over worse is more than chance: of the same 100 images it alone has 15 right, the other alone 0 "
        "(McNemar's p: under 0.0001).",
    )


def test_intervals_overlap_where_pairs_tell_the_difference() -> None:
    """The very case for which images are paired: 70 of 100 and 78 of 100 overlap, and yet 8 to 0 is no chance."""
    runs = [compared("a", right=first(70)), compared("b", right=first(78))]
    assert rank_runs(runs).contests[0].beyond
    alone = rank_runs([compared("a", hits=70), compared("b", hits=78)])
    assert not alone.contests[0].beyond
    assert alone.sentences[1] == "Its lead over a may be chance: the 95% intervals overlap or are not known."


def test_intervals_apart_are_beyond_chance() -> None:
    found = rank_runs([compared("a", hits=60), compared("b", hits=90)])
    assert found.sentences[1] == "Its lead over a is beyond the 95% intervals, which do not overlap."


def test_a_small_lead_may_be_chance() -> None:
    found = rank_runs([compared("a", right=first(80)), compared("b", right=first(81))])
    assert not found.contests[0].beyond
    assert "may well be chance" in found.sentences[1]


def test_more_comparisons_ask_for_more() -> None:
    """6 to 0 is p = 0.031: enough alone, not enough as one of three."""
    best, others = compared("best", right=first(86)), [compared(name, right=first(80)) for name in "abc"]
    assert rank_runs([best, others[0]]).contests[0].beyond
    found = rank_runs([best, *others])
    assert not any(contest.beyond for contest in found.contests)
    assert "a, b and c may well be chance" in found.sentences[1]


def test_many_runs_are_counted_not_listed() -> None:
    runs = [compared("best", right=first(99)), *(compared(f"r{i}", right=first(50 + i)) for i in range(5))]
    assert "Its lead over each of the 5 other runs is more than chance" in rank_runs(runs).sentences[1]
    near = [*runs, compared("near", right=first(98))]
    assert "Its lead over 5 of the 6 other runs is" in rank_runs(near).sentences[1]


def test_other_images_are_not_paired() -> None:
    other = compared("b", right=first(90, of=50) + first(0, of=40))
    assert rank_runs([compared("a", right=first(70)), other]).contests[0].p is None


def test_other_classes_are_not_paired() -> None:
    mine, other = compared("a", right=first(70)), compared("b", right=first(80))
    assert other.answers is not None
    relabelled = {name: ("bird", said) for name, (_, said) in other.answers.items()}
    changed = type(other)(label="b", path="", facts=other.facts, answers=relabelled)
    assert rank_runs([mine, changed]).contests[0].p is None


def test_a_tie_is_said() -> None:
    found = rank_runs([compared("a", hits=80), compared("b", hits=80), compared("c", hits=30)])
    assert found.best == ("a", "b")
    assert found.sentences[0].startswith("a and b are equally good: each gets 80.0% of 100 test images right")
    assert found.sentences[1].startswith("Their lead over c")


def test_without_a_test_split_the_validation_split_decides_and_that_is_said() -> None:
    found = rank_runs([compared("a", valid=0.9), compared("b", valid=0.5), compared("c", hits=100)])
    assert (found.split, found.best) == ("valid", ("a",))
    assert "flatters" in found.sentences[-1]
    assert "c cannot be ranked: there is no accuracy on the validation split." in found.warnings


def test_nothing_measured_is_nothing_judged() -> None:
    found = rank_runs([compared("a"), compared("b", hits=3)])
    assert (found.split, found.best, found.contests) == ("", (), ())
    assert "none can be called the best" in found.sentences[0]


def test_different_data_are_warned_of() -> None:
    runs = [compared("a", hits=8), compared("b", hits=9), compared("c", hits=9, fingerprint="e" * 64)]
    (warning,) = rank_runs(runs).warnings
    assert "their fingerprints differ: a and b; c" in warning


def test_unfinished_runs_are_warned_of() -> None:
    runs = [compared("a", hits=8, status="running"), compared("b", hits=9, status="diverged")]
    assert rank_runs(runs).warnings == ("a is still in training.", "b diverged.")


def test_p_values_in_words() -> None:
    assert [p_value(p) for p in (0.00001, 0.0312, 1.0)] == ["under 0.0001", "0.031", "1"]
