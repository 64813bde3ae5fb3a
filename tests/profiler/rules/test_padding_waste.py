"""PaddingWaste says how much of the work is done for a border."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clearsight.core.finding import Finding, Verdict
from clearsight.core.profile import Profile
from clearsight.profiler.rules.padding_waste import PaddingWaste
from clearsight.testing.profiles import profiled, told
from clearsight.testing.rules import only
from tests.profiler.rules.faults_e import CONTROLS, FAULTS, waiting


def judged(measured: Profile) -> Finding:
    return only(PaddingWaste(), profiled(measured))


def looked_at(*shares: float, steps: int = 200) -> Profile:
    """A run in which the images of a few steps were looked at."""
    padding = np.full(steps, np.nan)
    padding[np.linspace(0, steps - 1, len(shares)).astype(int)] = shares
    return waiting(steps=steps, data=0.004, padding=padding)


def test_found_when_two_fifths_are_border() -> None:
    finding = only(PaddingWaste(), FAULTS["PaddingWaste"]())
    assert finding.verdict is Verdict.FOUND
    assert finding.value == pytest.approx(40)
    assert "--image-size 160 instead of 224" in finding.advice


def test_clear_when_images_fill_the_input() -> None:
    assert only(PaddingWaste(), CONTROLS["PaddingWaste"]()).verdict is Verdict.CLEAR


def test_a_batch_of_odd_images_decides_nothing() -> None:
    assert judged(looked_at(0.02, 0.9, 0.01, 0.03)).verdict is Verdict.CLEAR
    assert judged(looked_at(0.3, 0.32, 0.0, 0.28)).found


def test_without_a_known_size_it_names_none() -> None:
    measured = looked_at(0.3, 0.3, 0.3)
    finding = only(PaddingWaste(), profiled(measured, facts=replace(told(measured), settings={})))
    assert "--image-size" not in finding.advice
    assert "Crop" in finding.advice


def test_says_how_much_is_missing() -> None:
    points = judged(looked_at(0.3, 0.3)).points
    assert points is not None
    assert (points.have, points.want) == (2, 3)
    assert judged(waiting(data=0.004)).verdict is Verdict.NOT_ENOUGH_DATA
