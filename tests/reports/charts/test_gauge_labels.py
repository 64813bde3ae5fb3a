from __future__ import annotations

import pytest

from clearsight.reports.charts.gauge_labels import GIB, core_gauges, format_reading, gauge_label


@pytest.mark.parametrize(
    ("gauge", "title", "unit"),
    [
        ("cpu", "cores (all programs)", "%"),
        ("cpu12", "core 12", "%"),
        ("gpu0", "GPU 0", "%"),
        ("gpu3.memory_bytes", "GPU 3 memory in use", "GiB"),
        ("tree.memory", "memory of this job", "GiB"),
    ],
)
def test_a_gauge_has_a_title_and_a_unit(gauge: str, title: str, unit: str) -> None:
    assert gauge_label(gauge)[:2] == (title, unit)


@pytest.mark.parametrize("gauge", ["gpu0.unheard_of", "cpux", "<b>", ""])
def test_an_unknown_gauge_keeps_its_name(gauge: str) -> None:
    assert gauge_label(gauge) == (gauge, "", 1.0)


def test_cores_are_sorted_by_number() -> None:
    assert core_gauges(("cpu10", "cpu", "cpu2", "cpu.iowait", "gpu0")) == ["cpu2", "cpu10"]


def test_readings_have_few_digits() -> None:
    assert format_reading(3.14159, "%") == "3.14%"
    assert format_reading(42.42, "GiB") == "42.4 GiB"
    assert format_reading(1240.4, "MHz") == "1,240 MHz"
    assert format_reading(7.0, "") == "7"
    assert format_reading(0.0, "%") == "0%"
    assert format_reading(None, "%") == "–"
    assert gauge_label("tree.memory").scale == GIB
