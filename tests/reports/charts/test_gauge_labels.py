from __future__ import annotations

import pytest

from clearsight.reports.charts.gauge_labels import GIB, cores, gauge_label, reading


@pytest.mark.parametrize(
    ("gauge", "called", "unit"),
    [
        ("cpu", "cores (all programs)", "%"),
        ("cpu12", "core 12", "%"),
        ("gpu0", "GPU 0", "%"),
        ("gpu3.memory_bytes", "GPU 3 memory in use", "GiB"),
        ("tree.memory", "memory of this job", "GiB"),
    ],
)
def test_a_gauge_has_a_name_and_a_unit(gauge: str, called: str, unit: str) -> None:
    assert gauge_label(gauge)[:2] == (called, unit)


@pytest.mark.parametrize("gauge", ["gpu0.unheard_of", "cpux", "<b>", ""])
def test_one_that_nobody_knows_goes_by_its_own_name(gauge: str) -> None:
    assert gauge_label(gauge) == (gauge, "", 1.0)


def test_cores_are_in_order_of_number() -> None:
    assert cores(("cpu10", "cpu", "cpu2", "cpu.iowait", "gpu0")) == ["cpu2", "cpu10"]


def test_readings_have_few_digits() -> None:
    assert reading(3.14159, "%") == "3.14%"
    assert reading(42.42, "GiB") == "42.4 GiB"
    assert reading(1240.4, "MHz") == "1,240 MHz"
    assert reading(7.0, "") == "7"
    assert reading(0.0, "%") == "0%"
    assert reading(None, "%") == "–"
    assert gauge_label("tree.memory").scale == GIB
