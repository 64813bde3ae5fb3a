"""Registry of the debugger's rules, one file each. Listing their names imports none of them."""

from __future__ import annotations

from clearsight.core.registry import Registry
from clearsight.core.rule import Rule

_PACKAGE = "clearsight.debugger.rules"
_MODULES = {
    # the loss and the learning rate
    "NotLearning": "not_learning",
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
    "UpdateMissing": "update_missing",
    "WeightDecayTooHigh": "weight_decay_too_high",
    "ClippingTooStrong": "clipping_too_strong",
    "DropoutTooHigh": "dropout_too_high",
    "AveragingTooSlow": "averaging_too_slow",
    "WorseFinalWeights": "worse_final_weights",
    # weights, gradients and activations
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
    # inputs, labels and predictions
    "BatchNormDrift": "batch_norm_drift",
    "CheckInputImages": "check_input_images",
    "ClassImbalance": "class_imbalance",
    "Confusion": "confusion",
    "DataLeak": "data_leak",
    "EvalModeMissing": "eval_mode_missing",
    "LabelNoise": "label_noise",
    "LossInputMismatch": "loss_input_mismatch",
    "LossOnProbabilities": "loss_on_probabilities",
    "NormalisationMismatch": "normalisation_mismatch",
    "ShuffledWrong": "shuffled_wrong",
    "TrainModeMissing": "train_mode_missing",
    "ValidationMismatch": "validation_mismatch",
}

RULES: Registry[type[Rule]] = Registry(
    "rule", {name: f"{_PACKAGE}.{module}:{name}" for name, module in _MODULES.items()}, group="clearsight.rules"
)
