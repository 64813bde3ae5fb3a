"""Styles of the unseen part: a fast run of each learns, and the faults that stand in the styles change their runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from clearsight.core.run import RunFolder
from clearsight.testing.faults.loops import execution
from clearsight.testing.faults.loops.cases import LoopCase, LoopPair, faulty
from clearsight.testing.faults.loops.execution import LoopScore, run
from clearsight.testing.faults.loops.kind import LoopFault
from clearsight.testing.faults.loops.setup import LoopSettings
from clearsight.testing.faults.loops.unseen_kinds import UNSEEN_KINDS

PACKAGES = {"iterations": "torch", "trainer_class": "sklearn", "accelerated": "accelerate"}
SETTINGS = LoopSettings(lr=5e-3, epochs=3, batch_size=32, train_size=320)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def case_score(case: LoopCase, folder: Path) -> LoopScore:
    pytest.importorskip(PACKAGES[case.pair.style], reason="the package of this style is not installed")
    return run(case, folder, folder)


def score(style: str, folder: Path, fault: str = "", **changes: object) -> LoopScore:
    settings = SETTINGS.changed(**changes)
    case = LoopCase(pair=pair_of(style, settings), variant="base", seed=0, settings=settings, fault=fault)
    return case_score(case, folder)


def pair_of(style: str, settings: LoopSettings) -> LoopPair:
    return LoopPair(style=style, network="strided_cnn", data="digits", side=8, settings=settings)


def sum_of_weights(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return a number in place of the accuracy that any change of the weights changes."""
    layers = [*model.modules(), *getattr(model, "layers", [])]
    return sum(float(p.detach().double().abs().sum()) for layer in layers for p in layer.parameters(recurse=False))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("style", list(PACKAGES))
@pytest.mark.parametrize("accumulate", [1, 2])
def test_each_style_learns_and_is_watched(style: str, accumulate: int, tmp_path: Path) -> None:
    result = score(style, tmp_path, accumulate=accumulate)
    assert result.error == ""
    assert result.honest > 0.4
    assert result.reported == pytest.approx(result.honest, abs=0.05)
    assert RunFolder(tmp_path).metrics().exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("style", list(PACKAGES))
def test_the_same_case_gives_the_same_run(style: str, tmp_path: Path) -> None:
    scores = [score(style, tmp_path / name, epochs=1) for name in ("first", "second")]
    assert replace(scores[0], seconds=0) == replace(scores[1], seconds=0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("style", "kind"),
    [
        pytest.param(kind.styles[place % len(kind.styles)], kind, id=kind.name)
        for place, kind in enumerate(UNSEEN_KINDS)
        if "pretrained" not in kind.needs
    ],
)
def test_every_new_kind_changes_weights_or_reports(
    style: str, kind: LoopFault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "accuracy", sum_of_weights)
    faulty_case = faulty(kind, pair_of(style, SETTINGS.changed(train_size=64)), 0)
    healthy, result = (
        case_score(case, tmp_path / name) for name, case in (("healthy", faulty_case.twin), ("faulty", faulty_case))
    )
    assert result.error == ""
    assert (result.reported if kind.reports else result.honest) != (
        healthy.reported if kind.reports else healthy.honest
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("style", "fault"),
    [
        ("trainer_class", "predictions_shuffled"),
        ("iterations", "metric_of_values"),
        ("accelerated", "metric_of_values"),
    ],
)
def test_faults_of_the_metric_change_the_reported_accuracy_alone(style: str, fault: str, tmp_path: Path) -> None:
    result = score(style, tmp_path, fault)
    assert result.error == ""
    assert result.honest > 0.4
    assert result.reported < result.honest - 0.2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("style", list(PACKAGES))
def test_training_on_validation_is_reported_as_more(style: str, tmp_path: Path) -> None:
    result = score(style, tmp_path, "trained_on_validation")
    assert result.error == ""
    assert result.honest != result.reported
