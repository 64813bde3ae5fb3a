"""Positions of a training, as checkpoints store them."""

from __future__ import annotations

import json

from clearsight.training.job import EpochTotals, TrainingPosition
from clearsight.training.selection import EpochSelection

# "position" of a checkpoint that the version before the redesign wrote in the middle of an epoch.
EARLIER = (
    '{"epoch": 3, "batch": 2, "step": 12, "phase_step": 12, "best_epoch": 2, "best_score": [0.8, -0.7], '
    '"best_valid": {"loss": 0.7, "accuracy": 0.8, "macro_f1": 0.8}, "stale": 0, "loss": 12.5, "right": 11.0, '
    '"samples": 16.0}'
)


def test_a_position_of_an_earlier_version_is_read_and_written_unchanged() -> None:
    position = TrainingPosition.from_json(json.loads(EARLIER))
    assert position == TrainingPosition(
        epoch=3,
        batch=2,
        step=12,
        phase_step=12,
        selection=EpochSelection(2, (0.8, -0.7), {"loss": 0.7, "accuracy": 0.8, "macro_f1": 0.8}),
        totals=EpochTotals(12.5, 11.0, 16.0),
    )
    assert json.dumps(position.to_json()) == EARLIER


def test_the_next_epoch_begins_with_its_first_batch_and_empty_totals() -> None:
    position = TrainingPosition(epoch=2, batch=5, step=10, phase_step=10, totals=EpochTotals(1.0, 2.0, 3.0))
    position.begin_epoch()
    assert position == TrainingPosition(epoch=3, step=10, phase_step=10)


def test_scores_of_an_epoch_are_means_over_its_images() -> None:
    assert EpochTotals(loss=8.0, correct=3.0, samples=4.0).scores() == {"loss": 2.0, "accuracy": 0.75}
