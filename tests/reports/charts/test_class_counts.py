from __future__ import annotations

from clearsight.reports.charts.class_counts import counts_panel, counts_table, imbalance

COUNTS = {"train": {"a": 30, "b": 10}, "test": {"a": 5, "b": 5}, "predict": {"": 7}}


def test_the_table_has_a_row_per_class_with_sums_and_the_unlabelled_last() -> None:
    table = counts_table(COUNTS, ("a", "b"))
    assert table.columns == ("class", "train", "test", "predict", "all")
    assert table.rows == (
        ("a", "30", "5", "0", "35"),
        ("b", "10", "5", "0", "15"),
        ("(no label)", "0", "0", "7", "7"),
        ("all", "40", "10", "7", "57"),
    )


def test_imbalance_is_largest_over_smallest_training_class_that_has_images() -> None:
    assert imbalance(COUNTS, ("a", "b", "empty")) == 3
    assert imbalance({"test": {"a": 1}}, ("a",)) is None


def test_the_chart_leaves_out_splits_without_labels() -> None:
    assert [trace.name for trace in counts_panel(COUNTS, ("a", "b")).figure.data] == ["train", "test"]


def test_with_many_classes_the_rarest_are_drawn_and_all_are_in_the_table() -> None:
    names = [f"c{i}" for i in range(200)]
    panel = counts_panel({"train": {name: 1000 - i for i, name in enumerate(names)}}, names)
    assert set(panel.figure.layout.yaxis.ticktext) == set(names[-30:])
    assert "30 rarest of 200" in panel.note
    assert len(panel.table.rows) == 201
