"""Which run is best, and whether its lead is significant."""

from __future__ import annotations

from clearsight.reports.comparison.ranking import p_value_text, rank_runs
from tests.reports.compared import compared, first


def test_predictions_of_the_same_images_decide() -> None:
    found = rank_runs([compared("worse", correct=first(70)), compared("better", correct=first(85))])
    (comparison,) = found.comparisons
    assert found.best == ("better",)
    assert (comparison.other, comparison.best_only, comparison.other_only, comparison.images) == ("worse", 15, 0, 100)
    assert comparison.significant
    assert found.sentences == (
        "better is best: it classifies 85.0% of 100 test images correctly (95% interval 76.7% to 90.7%).",
        "Its lead over worse is significant: of the same 100 images, only it classifies 15 correctly, only the other 0 "
        "(McNemar's test, p under 0.0001).",
    )


def test_pairs_find_a_difference_where_intervals_overlap() -> None:
    """The reason for pairs: the intervals of 70 and 78 of 100 overlap, and yet 8 to 0 is significant."""
    runs = [compared("a", correct=first(70)), compared("b", correct=first(78))]
    assert rank_runs(runs).comparisons[0].significant
    alone = rank_runs([compared("a", hits=70), compared("b", hits=78)])
    assert not alone.comparisons[0].significant
    assert alone.sentences[1] == "Its lead over a may be chance: the 95% intervals overlap or are unknown."


def test_disjoint_intervals_are_significant() -> None:
    found = rank_runs([compared("a", hits=60), compared("b", hits=90)])
    assert found.sentences[1] == "Its lead over a is significant: the 95% intervals do not overlap."


def test_a_small_lead_may_be_chance() -> None:
    found = rank_runs([compared("a", correct=first(80)), compared("b", correct=first(81))])
    assert not found.comparisons[0].significant
    assert "may be chance" in found.sentences[1]


def test_more_comparisons_need_a_clearer_difference() -> None:
    """6 to 0 is p = 0.031: enough alone, not enough as one of three."""
    best, others = compared("best", correct=first(86)), [compared(name, correct=first(80)) for name in "abc"]
    assert rank_runs([best, others[0]]).comparisons[0].significant
    found = rank_runs([best, *others])
    assert not any(comparison.significant for comparison in found.comparisons)
    assert "a, b and c may be chance" in found.sentences[1]


def test_many_runs_are_counted_not_listed() -> None:
    runs = [compared("best", correct=first(99)), *(compared(f"r{i}", correct=first(50 + i)) for i in range(5))]
    assert "Its lead over each of the 5 other runs is significant" in rank_runs(runs).sentences[1]
    near = [*runs, compared("near", correct=first(98))]
    assert "Its lead over 5 of the 6 other runs is" in rank_runs(near).sentences[1]


def test_other_images_are_not_paired() -> None:
    other = compared("b", correct=first(90, of=50) + first(0, of=40))
    assert rank_runs([compared("a", correct=first(70)), other]).comparisons[0].p is None


def test_other_classes_are_not_paired() -> None:
    one_run, other = compared("a", correct=first(70)), compared("b", correct=first(80))
    assert other.predictions is not None
    relabelled = {name: ("bird", predicted) for name, (_, predicted) in other.predictions.items()}
    changed = type(other)(label="b", path="", report=other.report, predictions=relabelled)
    assert rank_runs([one_run, changed]).comparisons[0].p is None


def test_a_tie_names_all_the_best() -> None:
    found = rank_runs([compared("a", hits=80), compared("b", hits=80), compared("c", hits=30)])
    assert found.best == ("a", "b")
    assert found.sentences[0].startswith("a and b are equally good: each classifies 80.0% of 100 test images correctly")
    assert found.sentences[1].startswith("Their lead over c")


def test_without_a_test_split_the_validation_split_decides_with_a_remark() -> None:
    found = rank_runs([compared("a", valid=0.9), compared("b", valid=0.5), compared("c", hits=100)])
    assert (found.split, found.best) == ("valid", ("a",))
    assert "slightly optimistic" in found.sentences[-1]
    assert "c cannot be ranked: there is no accuracy on the validation split." in found.warnings


def test_without_scores_there_is_no_ranking() -> None:
    found = rank_runs([compared("a"), compared("b", hits=3)])
    assert (found.split, found.best, found.comparisons) == ("", (), ())
    assert "they cannot be ranked" in found.sentences[0]


def test_different_data_give_a_warning() -> None:
    runs = [compared("a", hits=8), compared("b", hits=9), compared("c", hits=9, fingerprint="e" * 64)]
    (warning,) = rank_runs(runs).warnings
    assert "their fingerprints differ: a and b; c" in warning


def test_unfinished_runs_give_a_warning() -> None:
    runs = [compared("a", hits=8, status="running"), compared("b", hits=9, status="diverged")]
    assert rank_runs(runs).warnings == ("a is still training.", "b diverged.")


def test_p_values_as_text() -> None:
    assert [p_value_text(p) for p in (0.00001, 0.0312, 1.0)] == ["under 0.0001", "0.031", "1"]
