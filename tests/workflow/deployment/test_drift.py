"""Drift of an endpoint: other classes than in validation, or less confidence than there was accuracy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.bundle import Bundle
from clearsight.testing.mean_colour import make_bundle
from clearsight.workflow.deployment.drift import drift


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    made = make_bundle(tmp_path_factory.mktemp("bundle"))
    counts = {"valid": dict(zip(made.classes, (40, 40, 40, 40), strict=True))}
    return made.model_copy(update={"data": {"counts": counts}, "scores": {"valid": {"accuracy": 0.9}}})


def test_another_mix_of_classes_is_named(bundle: Bundle) -> None:
    assert drift(bundle, (400, 50, 25, 25), 0.9) == (
        "of 500 images 80% are predicted as red, which was 25% of validation"
    )


def test_little_confidence_is_named(bundle: Bundle) -> None:
    assert drift(bundle, (100, 100, 100, 100), 0.7) == (
        "of 400 images the mean confidence is 0.70 where 0.90 were right in validation"
    )


def test_few_images_and_unknown_validations_say_nothing(bundle: Bundle, tmp_path: Path) -> None:
    assert drift(bundle, (150, 10, 10, 10), 0.3) == ""
    assert drift(make_bundle(tmp_path / "plain"), (400, 10, 10, 10), 0.3) == ""
    few = bundle.model_copy(update={"data": {"counts": {"valid": {"red": 3}}}})
    assert drift(few, (400, 10, 10, 10), 0.3) == ""


@given(st.integers(0, 2**32 - 1), st.integers(200, 5000))
def test_images_like_those_of_validation_are_no_drift(bundle: Bundle, seed: int, images: int) -> None:
    classes = np.random.default_rng(seed).multinomial(images, [0.25] * 4)
    assert drift(bundle, tuple(classes.tolist()), 0.88) == ""
