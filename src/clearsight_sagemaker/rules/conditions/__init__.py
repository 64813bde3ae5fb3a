"""Built-in rules of SageMaker's debugger by name: what each of them looks for at a saved step."""

from __future__ import annotations

from clearsight_sagemaker.rules.conditions import activations, inputs, losses, tensors, weights
from clearsight_sagemaker.rules.conditions.condition import Condition

CONDITIONS: dict[str, type[Condition]] = {
    "AllZero": tensors.AllZeroCondition,
    "CheckInputImages": inputs.CheckInputImagesCondition,
    "ClassImbalance": inputs.ClassImbalanceCondition,
    "Confusion": inputs.ConfusionCondition,
    "DeadRelu": activations.DeadReluCondition,
    "ExplodingTensor": tensors.ExplodingTensorCondition,
    "LossNotDecreasing": losses.LossNotDecreasingCondition,
    "Overfit": losses.OverfitCondition,
    "Overtraining": losses.OvertrainingCondition,
    "PoorWeightInitialization": weights.PoorWeightInitializationCondition,
    "SaturatedActivation": activations.SaturatedActivationCondition,
    "SimilarAcrossRuns": tensors.SimilarAcrossRunsCondition,
    "StalledTrainingRule": tensors.StalledTrainingCondition,
    "TensorVariance": tensors.TensorVarianceCondition,
    "UnchangedTensor": tensors.UnchangedTensorCondition,
    "VanishingGradient": weights.VanishingGradientCondition,
    "WeightUpdateRatio": weights.WeightUpdateRatioCondition,
}
