"""LoopFault: a kind of fault in a training script, with the rules that name it and where people report it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# Styles with a hand-written loop, and those where a trainer owns the loop.
UNSEEN_STYLES = ("iterations", "trainer_class", "accelerated")  # of the part that was written last
WRITTEN = ("tutorial", "script", "timm_like", *UNSEEN_STYLES)
BINARY = ("binary",)
TRAINERS = ("lightning", "hugging_face")
STYLES = (*WRITTEN, *BINARY, *TRAINERS)
LOOPS = (*WRITTEN, *BINARY)  # the author writes backward, step and zero_grad
CLASSES = (*WRITTEN, *TRAINERS)  # one output for each class

# Where people report faults. A report without a certain address is called common.
RECIPE = "Karpathy 2019, A Recipe for Training Neural Networks, karpathy.github.io/2019/04/25/recipe"
MISTAKES = "Karpathy 2018, most common neural net mistakes, twitter.com/karpathy/status/1013244313327681536"
TAXONOMY = "Humbatova et al. 2020, Taxonomy of Real Faults in Deep Learning Systems, arXiv 1910.11015"
MUTATION = "Humbatova et al. 2021, DeepCrime: mutation testing of deep learning systems, ISSTA 2021"
COMMON = "common report (questions on forums), no certain address"

# Rules that tell that nothing is learned, not why.
SYMPTOMS = ("NotLearning", "LossNotDecreasing")

Requirement = Literal["batch_norm", "modes", "relu", "own_layers", "colour", "multiclass", "random", "pretrained"]


@dataclass(frozen=True, kw_only=True)
class LoopFault:
    """A kind of fault.

    accepted: the rules that name the cause, () where no rule does.  near: rules that are relevant and not the cause.
    settings: what the fault changes in the script's settings; factors of the rate stand as "lr_factor".
    variant: the healthy recipe that it is planted in.  needs: what network or data must have for it to matter.
    reports: the harm is a reported accuracy that other images do not confirm.
    """

    name: str
    sentence: str
    source: str
    styles: tuple[str, ...]
    accepted: tuple[str, ...]
    near: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    variant: Literal["base", "sgd"] = "base"
    needs: tuple[Requirement, ...] = ()
    reports: bool = False
