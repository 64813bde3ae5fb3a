"""The rules by name, one file each. Listing imports none of them."""

from __future__ import annotations

from clearsight.core.registry import Registry
from clearsight.core.rule import Rule

_HERE = "clearsight.debugger.rules"
_MODULES = {
    # how the loss goes
    "HeadNotLearning": "head_not_learning",
    "LearningRateTooHigh": "learning_rate_too_high",
    "LearningRateTooLow": "learning_rate_too_low",
    "LossNotDecreasing": "loss_not_decreasing",
    "LossOscillating": "loss_oscillating",
    "Overfit": "overfit",
    "Overtraining": "overtraining",
    "ScheduleMismatch": "schedule_mismatch",
    "SimilarAcrossRuns": "similar_across_runs",
    "StalledTraining": "stalled_training",
    "UnderfitCapacity": "underfit_capacity",
    # what the tensors look like
    "AllZero": "all_zero",
    "DeadRelu": "dead_relu",
    "EarlyNaN": "early_nan",
    "ExplodingTensor": "exploding_tensor",
    "FrozenByMistake": "frozen_by_mistake",
    "GradientsNotCleared": "gradients_not_cleared",
    "PoorWeightInitialization": "poor_weight_initialization",
    "SaturatedActivation": "saturated_activation",
    "TensorVariance": "tensor_variance",
    "UnchangedTensor": "unchanged_tensor",
    "VanishingGradient": "vanishing_gradient",
    "WeightUpdateRatio": "weight_update_ratio",
    # what goes in and what comes out
    "BatchNormDrift": "batch_norm_drift",
    "CheckInputImages": "check_input_images",
    "ClassImbalance": "class_imbalance",
    "Confusion": "confusion",
    "DataLeak": "data_leak",
    "LabelNoise": "label_noise",
    "LossOnProbabilities": "loss_on_probabilities",
    "NormalisationMismatch": "normalisation_mismatch",
    "ShuffledWrong": "shuffled_wrong",
}

RULES: Registry[type[Rule]] = Registry(
    "rule", {name: f"{_HERE}.{module}:{name}" for name, module in _MODULES.items()}, group="clearsight.rules"
)
