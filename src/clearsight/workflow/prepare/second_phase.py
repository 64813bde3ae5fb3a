"""The decisions about a second phase with `second_phase: if_needed`: whether it is trained, and whether it is used.

Both are made from validation results of the head's phase and what is in the checkpoints, so that a resumed run makes
the same ones. Without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from clearsight.core.events import RunStatus
from clearsight.core.format import several
from clearsight.training.paired_gain import PairedGain

if TYPE_CHECKING:
    from clearsight.training.job import Phase, TrainingResult

# Errors of the head alone, among as many images as it is trained on, from which on the whole network is worth its
# time: they are what it can learn from. By the test accuracies of benchmarks/default_recipe.py the head leaves 89 and
# fewer on intel-scenes and dog-breeds (570 to 612 images), where 10 epochs of the whole network were less accurate; 102
# and 133 on cifar-10 and isic-2024 with 170 images, where they were not clearly more or less; and 316 and 407 on the
# same with 680 images, where they were more accurate on isic-2024. The limit lies between the last two groups.
ENOUGH_ERRORS = 200


def avoided_errors(accuracy: float, largest_share: float) -> float:
    """Return the share of the errors of always naming the most frequent class that a model of this accuracy avoids.

    largest_share: share of that class among the images, in [1 / classes, 1].  1 for a model without errors, 0 for one
    that is no better than that class; unlike the accuracy, it does not depend on how uneven the classes are.
    """
    return (accuracy - largest_share) / (1 - largest_share) if largest_share < 1 else float(accuracy == 1)


def trained_part(phase: str) -> str:
    """Return what a second phase of this name trains, as the subject of a sentence."""
    return "the whole network" if phase == "all" else f"the network {phase} on"


def reason_against(phase: str, images: int, largest_share: float, valid: Mapping[str, float]) -> str:
    """Return why the second phase is left out, as a sentence; "" to train it.

    phase: its name.  images: training images of all processes.  valid: scores of the head's best epoch; {} without
    validation images, where nobody knows how good the head is.  largest_share: of the most frequent class among them.
    """
    if not valid:
        return ""
    avoided = avoided_errors(valid["accuracy"], largest_share)
    if (errors := (1 - avoided) * images) >= ENOUGH_ERRORS:
        return ""
    return (
        f"The head alone was trained, and not {trained_part(phase)}: with a validation accuracy of "
        f"{valid['accuracy']:.3f} it avoids {100 * avoided:.0f} % of the errors of always naming the most frequent "
        f"class. The rest, about {errors:.0f} of {several(images, 'image')}, is too little to learn from (fewer than "
        f"{ENOUGH_ERRORS})."
    )


def second_phase_sentence(phases: Sequence[Phase], result: TrainingResult) -> str:
    """Return whether the last phase was trained and used, and why; "" where that was not decided by validation.

    A training that was interrupted has not decided yet, and one that diverged has no model.
    """
    if result.status not in (RunStatus.COMPLETED, RunStatus.STOPPED_EARLY):
        return ""
    if result.gain is None:
        return result.left_out
    return choice_sentence(phases[-1].name, result.gain, is_used=result.is_gain_used)


def choice_sentence(phase: str, gain: PairedGain, *, is_used: bool) -> str:
    """Return which phase the model is of, and why.

    phase: name of the second phase.  gain: of its best epoch over the last epoch of the head.  is_used: True if the
    model is of the second phase.
    """
    part = trained_part(phase)
    if gain.score == "accuracy":
        count = round(gain.value * gain.images)
        change = f"right on {abs(count)} of {several(gain.images, 'validation image')} "
        change += f"{'more' if count >= 0 else 'fewer'} than the head at its end"
        error = f"{gain.error * gain.images:.1f}"
    else:
        change = f"{'better' if gain.value >= 0 else 'worse'} by a validation {gain.score} of {abs(gain.value):.2g}"
        change += " than the head at its end"
        error = f"{gain.error:.2g}"
    if is_used:
        return f"{part.capitalize()} was used: it is {change}, over the standard error of {error}."
    if gain.is_clear:  # and yet not better than the best epoch of the head
        return f"The head alone was kept, not {part}: that is {change}, but not better than the best epoch of the head."
    return f"The head alone was kept, not {part}: that is {change}, which is not over the standard error of {error}."
