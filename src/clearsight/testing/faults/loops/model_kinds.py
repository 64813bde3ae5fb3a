"""Kinds of faults in the network: its initial weights, its layers, and what of it learns."""

from __future__ import annotations

from clearsight.testing.faults.loops.kind import COMMON, MUTATION, STYLES, SYMPTOMS, TAXONOMY, LoopFault

_UNMOVED = ("UnchangedTensor", *SYMPTOMS)
_DEAD = ("AllZero", "VanishingGradient", *SYMPTOMS)

MODEL_KINDS = (
    LoopFault(
        name="head_frozen",
        sentence="the new last layer is frozen, and only the norms learn",
        source=COMMON,
        styles=STYLES,
        accepted=("FrozenByMistake",),
        near=_UNMOVED,
        needs=("batch_norm",),
    ),
    LoopFault(
        name="features_detached",
        sentence="the features of a random network are detached, so the last layer learns alone",
        source=COMMON,
        styles=STYLES,
        accepted=("FrozenByMistake", "UpdateMissing"),
        near=("UnderfitCapacity", *_UNMOVED),
        needs=("random",),
    ),
    LoopFault(
        name="dropout_095",
        sentence="dropout removes 95 % of the features before the last layer",
        source=MUTATION,
        styles=STYLES,
        accepted=("DropoutTooHigh",),
        near=("UnderfitCapacity", *SYMPTOMS),
    ),
    LoopFault(
        name="zero_init",
        sentence="the weights of all convolutions and linear layers start at 0",
        source=MUTATION,
        styles=STYLES,
        accepted=("PoorWeightInitialization",),
        near=_DEAD,
    ),
    LoopFault(
        name="constant_init",
        sentence="the weights of all convolutions and linear layers start at 0.01",
        source=MUTATION,
        styles=STYLES,
        accepted=("PoorWeightInitialization",),
        near=_DEAD,
    ),
    LoopFault(
        name="huge_init",
        sentence="weights start thirty times too large",
        source=TAXONOMY,
        styles=STYLES,
        accepted=("PoorWeightInitialization",),
        near=("ExplodingTensor", "LearningRateTooHigh", "SaturatedActivation", *SYMPTOMS),
        needs=("random",),
    ),
    LoopFault(
        name="dead_relu",
        sentence="biases before the ReLUs start at -10",
        source=COMMON,
        styles=STYLES,
        accepted=("DeadRelu",),
        near=("PoorWeightInitialization", *_DEAD),
        needs=("relu",),
    ),
    LoopFault(
        name="sigmoid_deep",
        sentence="the network has sigmoids instead of ReLUs and no normalisation",
        source=TAXONOMY,
        styles=STYLES,
        accepted=("VanishingGradient", "SaturatedActivation"),
        near=("PoorWeightInitialization", "LearningRateTooLow", "UnderfitCapacity", *SYMPTOMS),
        needs=("own_layers",),
    ),
    LoopFault(
        name="tanh_saturated",
        sentence="the network has tanh instead of ReLUs, and weights of standard deviation 1",
        source=TAXONOMY,
        styles=STYLES,
        accepted=("SaturatedActivation", "PoorWeightInitialization"),
        near=("VanishingGradient", "LearningRateTooHigh", *SYMPTOMS),
        needs=("own_layers",),
    ),
    LoopFault(
        name="batch_norm_slow",
        sentence="the momentum of BatchNorm is 0.001, too slow for its statistics to follow in a hundred steps",
        source=COMMON,
        styles=STYLES,
        accepted=("BatchNormDrift",),
        near=("Overfit",),
        needs=("batch_norm", "random"),
    ),
    LoopFault(
        name="batch_norm_pairs",
        sentence="batches of 2 with BatchNorm",
        source="Wu and He 2018, Group Normalization, figure 1, arXiv 1803.08494",
        styles=STYLES,
        accepted=("BatchNormDrift",),
        near=("LossOscillating", "LearningRateTooHigh"),
        settings={"batch_size": 2, "epochs": 2},
        needs=("batch_norm",),
    ),
    LoopFault(
        name="relu_on_logits",
        sentence="a ReLU stands behind the last layer, so that logits cannot be negative",
        source=COMMON,
        styles=STYLES,
        accepted=("DeadRelu", "LossInputMismatch"),
        near=("AllZero", "VanishingGradient", *SYMPTOMS),
    ),
)
