"""PaddingWaste finds input pixels that are only a border."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clearsight.core.finding import Finding, Verdict
from clearsight.core.profile import Profile
from clearsight.profiler.rules.padding_waste import PaddingWaste
from clearsight.testing.profiles import context_of, profiled
from clearsight.testing.rules import only
from tests.profiler.rules.other_rule_faults import CONTROLS, FAULTS, waiting


def verdict_on(measured: Profile) -> Finding:
    return only(PaddingWaste(), profiled(measured))


def measured_at(*shares: float, steps: int = 200) -> Profile:
    """A run in which the images of a few steps were measured."""
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


def test_one_batch_of_odd_images_is_clear() -> None:
    assert verdict_on(measured_at(0.02, 0.9, 0.01, 0.03)).verdict is Verdict.CLEAR
    assert verdict_on(measured_at(0.3, 0.32, 0.0, 0.28)).found


def test_an_unknown_input_size_is_not_named() -> None:
    measured = measured_at(0.3, 0.3, 0.3)
    finding = only(PaddingWaste(), profiled(measured, context=replace(context_of(measured), settings={})))
    assert "--image-size" not in finding.advice
    assert "Crop" in finding.advice


def test_the_missing_data_is_counted() -> None:
    points = verdict_on(measured_at(0.3, 0.3)).points
    assert points is not None
    assert (points.have, points.want) == (2, 3)
    assert verdict_on(waiting(data=0.004)).verdict is Verdict.NOT_ENOUGH_DATA
