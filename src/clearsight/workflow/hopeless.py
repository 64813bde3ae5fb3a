"""Whether a trial has learned nothing and will not: what a study stops, whatever its pruner thinks."""

from __future__ import annotations

import math

from clearsight.core.run import EpochRecord

_SHARE = 1 / 3  # of the planned epochs, after which a network that learns at all has begun to
_LEAST = 3  # epochs before anything is said
_NEAR = 0.02  # of the loss of guessing
_CHANCE = 1.2  # times the accuracy of guessing
_RANKED = 0.6  # area under the ROC curve above which two classes are told apart, whatever the threshold makes of it


def chance_level_reason(record: EpochRecord, classes: int) -> str:
    """Why a trial is given up after an epoch, or "".

    Who guesses evenly among C classes has the cross-entropy log C and gets one in C right. A third into its training, a
    trial that still has both on its training pictures is not worth the rest. (The loss alone would not do: a rate that
    is far too low leaves it there while the classes are told apart already, and of two classes a network may even call
    all pictures the same and yet rank them well. A loss far above is no guess either: the rate is high, and it will
    fall.) Stopping trials by what a debugger sees, not by their objective alone, is the idea of "BTTackler: A
    Diagnosis-based Framework for Efficient Deep Learning Hyperparameter Optimization" (KDD 2024).
    """
    classes = max(classes, 2)
    loss, guessing = record.train.get("loss", 0.0), math.log(classes)
    right = record.train.get("accuracy", 1.0)
    if record.epoch >= record.epochs:
        return ""  # there is no rest
    if record.epoch < max(_LEAST, math.ceil(_SHARE * record.epochs)):
        return ""
    if abs(loss / guessing - 1) > _NEAR or right > _CHANCE / classes or record.valid.get("roc_auc", 0.0) > _RANKED:
        return ""
    told = f"after {record.epoch} of {record.epochs} epochs it guesses: training loss {loss:.3f}, accuracy {right:.3f}"
    return f"{told}, where log {classes} is {guessing:.3f}"
