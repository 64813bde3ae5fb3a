"""Kinds of faults that the unseen part alone has.

What is accepted and what is near was written from the meaning of the rules, before any of these scripts was judged.
"""

from __future__ import annotations

from clearsight.testing.faults.loops.kind import COMMON, SYMPTOMS, TAXONOMY, UNSEEN_STYLES, LoopFault

_OVERFITTING = ("Overfit", "Overtraining")
_UNMOVED = ("UnchangedTensor", *SYMPTOMS)
_SLOW = ("WeightUpdateRatio", "UnchangedTensor", *SYMPTOMS)
_WILD = ("ExplodingTensor", "EarlyNaN", "WeightUpdateRatio", "LossOscillating", *SYMPTOMS)
_BY_SCALER = ("iterations", "trainer_class")  # styles with a GradScaler; accelerate has its own
_BY_EPOCH = ("trainer_class", "accelerated")

_LOSSES = (
    LoopFault(
        name="mse_on_softmax",
        sentence="the loss is the squared error of softmax outputs against one-hot labels, with SGD",
        source="codegenes.net/blog/model-didnt-learn-pytorch",
        styles=UNSEEN_STYLES,
        accepted=("LossInputMismatch",),
        near=("LossOnProbabilities", "LearningRateTooLow", "VanishingGradient", *SYMPTOMS),
        variant="sgd",
    ),
    LoopFault(
        name="kl_div_of_probabilities",
        sentence="kl_div gets probabilities instead of their logarithms",
        source="github.com/microsoft/ProDA/issues/20",
        styles=UNSEEN_STYLES,
        accepted=("LossInputMismatch",),
        near=("LossOnProbabilities", "LearningRateTooLow", "VanishingGradient", *SYMPTOMS),
        variant="sgd",
    ),
    LoopFault(
        name="focal_of_log_probability",
        sentence="the weight of a focal loss takes the log-probability for the probability, with SGD",
        source="github.com/HeyLynne/FocalLoss_for_multiclass/issues/3",
        styles=UNSEEN_STYLES,
        accepted=("LossInputMismatch", "LearningRateTooHigh"),
        near=_WILD,
        variant="sgd",
    ),
    LoopFault(
        name="logit_temperature",
        sentence="logits are divided by a temperature of 100 before the loss, with SGD",
        source=COMMON,
        styles=UNSEEN_STYLES,
        accepted=("LossInputMismatch",),
        near=("LearningRateTooLow", "VanishingGradient", *_SLOW),
        variant="sgd",
    ),
    LoopFault(
        name="mixup_weights_swapped",
        sentence="mixup gives the labels of an image the weight of the other one",
        source=COMMON,
        styles=UNSEEN_STYLES,
        accepted=("LabelNoise", "ValidationMismatch"),
        near=SYMPTOMS,
    ),
)

_STEPS = (
    LoopFault(
        name="optimizer_maximizes",
        sentence="the optimizer is made with maximize=True",
        source=COMMON,
        styles=UNSEEN_STYLES,
        accepted=(),
        near=("LossInputMismatch", "LearningRateTooHigh", "ExplodingTensor", "EarlyNaN", *SYMPTOMS),
    ),
    LoopFault(
        name="clip_before_unscale",
        sentence="gradients are clipped while GradScaler's factor is still in them, with SGD",
        source="github.com/victorchall/EveryDream2trainer/pull/175",
        styles=_BY_SCALER,
        accepted=("ClippingTooStrong", "LearningRateTooLow"),
        near=_SLOW,
        settings={"clip": 1.0},
        variant="sgd",
    ),
    LoopFault(
        name="scaled_loss_stepped",
        sentence="the loss is scaled by GradScaler, and optimizer.step() is called instead of scaler.step(), with SGD",
        source=COMMON,
        styles=_BY_SCALER,
        accepted=("LearningRateTooHigh", "LossInputMismatch"),
        near=_WILD,
        variant="sgd",
    ),
    LoopFault(
        name="other_optimizer_cleared",
        sentence="zero_grad() is called on another optimizer, which holds the last layer alone",
        source=COMMON,
        styles=UNSEEN_STYLES,
        accepted=("GradientsNotCleared",),
        near=("LearningRateTooHigh", *_WILD),
    ),
    LoopFault(
        name="adam_decay_one",
        sentence="Adam, which adds the decay to the gradient, has a weight decay of 1",
        source="Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization, arXiv 1711.05101",
        styles=UNSEEN_STYLES,
        accepted=("WeightDecayTooHigh",),
        near=("NotLearning", "LossNotDecreasing", "UnderfitCapacity", "VanishingGradient", "LearningRateTooHigh"),
        settings={"optimizer": "adam", "weight_decay": 1.0},
    ),
    LoopFault(
        name="slow_backbone",
        sentence="all layers but the last have a thousandth of the rate, as if this random network were pretrained",
        source=COMMON,
        styles=UNSEEN_STYLES,
        accepted=("LearningRateTooLow", "FrozenByMistake"),
        near=("UnderfitCapacity", *_SLOW),
        needs=("random",),
    ),
    LoopFault(
        name="weights_clamped",
        sentence="weights are clamped to 0.01 after every step, as for a WGAN",
        source=COMMON,
        styles=UNSEEN_STYLES,
        accepted=(),
        near=("VanishingGradient", "WeightUpdateRatio", "AllZero", *_UNMOVED),
    ),
)

_RATES = (
    LoopFault(
        name="schedule_made_every_epoch",
        sentence="a cosine schedule of one epoch is made anew in every epoch and starts from the 0 of the last one",
        source="github.com/pytorch/pytorch/issues/78003",
        styles=_BY_EPOCH,
        accepted=("ScheduleMismatch",),
        near=("LearningRateTooLow", *_SLOW),
        variant="sgd",
    ),
    LoopFault(
        name="plateau_wrong_mode",
        sentence="ReduceLROnPlateau looks for a maximum of the validation loss, so every improvement lowers the rate",
        source="github.com/FunctionLab/selene/issues/115",
        styles=UNSEEN_STYLES,
        accepted=("ScheduleMismatch",),
        near=("LearningRateTooLow", *_SLOW),
        variant="sgd",
    ),
    LoopFault(
        name="decay_ends_early",
        sentence="the cosine of the rate ends after a tenth of the run",
        source="github.com/karpathy/nanoGPT, train.py: lr_decay_iters should be about max_iters",
        styles=UNSEEN_STYLES,
        accepted=("ScheduleMismatch",),
        near=("LearningRateTooLow", *_SLOW),
    ),
    LoopFault(
        name="rate_factor_integer",
        sentence="the factor of the rate is an integer division, 0 until the last step",
        source=COMMON,
        styles=UNSEEN_STYLES,
        accepted=("ScheduleMismatch", "LearningRateTooLow", "FrozenByMistake"),
        near=("UpdateMissing", *_SLOW),
    ),
)

_DATA = (
    LoopFault(
        name="labels_one_based",
        sentence="1 is subtracted from training labels that begin with 0, which merges the first two classes",
        source="github.com/tensorflow/tpu/issues/521",
        styles=UNSEEN_STYLES,
        accepted=("ValidationMismatch",),
        near=("Confusion", "LabelNoise", *_OVERFITTING),
    ),
    LoopFault(
        name="loaders_zipped",
        sentence="images and labels come from two passes over a shuffled loader",
        source=COMMON,
        styles=_BY_SCALER,
        accepted=("LabelNoise", "ValidationMismatch", "NotLearning"),  # as for labels of the batch before
        near=("LossNotDecreasing", *_OVERFITTING),
    ),
    LoopFault(
        name="batch_of_one_image",
        sentence="the sampler repeats one image to the end of the batch",
        source=COMMON,
        styles=UNSEEN_STYLES,
        accepted=("CheckInputImages", "ShuffledWrong"),
        near=("BatchNormDrift", "LossOscillating", *_OVERFITTING),
    ),
    LoopFault(
        name="bytes_overflow",
        sentence="training images are brightened as uint8, which wraps around at 256",
        source="github.com/tensorpack/tensorpack/issues/614",
        styles=UNSEEN_STYLES,
        accepted=("CheckInputImages", "ValidationMismatch"),
        near=("UnderfitCapacity", *SYMPTOMS),
    ),
    LoopFault(
        name="normalised_in_place",
        sentence="cached images are normalised in place, once more in every epoch",
        source="github.com/pytorch/vision/issues/680",
        styles=UNSEEN_STYLES,
        accepted=("NormalisationMismatch", "CheckInputImages", "ValidationMismatch"),
        near=("ExplodingTensor", "LearningRateTooHigh", "BatchNormDrift", *_OVERFITTING),
        needs=("random",),
    ),
    LoopFault(
        name="valid_labels_unaligned",
        sentence="validation images are shuffled, and their labels are not",
        source="github.com/dennybritz/cnn-text-classification-tf/issues/136",
        styles=UNSEEN_STYLES,
        accepted=("ValidationMismatch",),
        near=("Confusion", *_OVERFITTING),
        reports=True,
    ),
    LoopFault(
        name="valid_255",
        sentence="validation images are not divided by 255",
        source=TAXONOMY,
        styles=UNSEEN_STYLES,
        accepted=("ValidationMismatch",),
        near=("NormalisationMismatch", "CheckInputImages", *_OVERFITTING),
        reports=True,
    ),
    LoopFault(
        name="valid_corner",
        sentence="validation crops the upper left corner of images twice as large",
        source=COMMON,
        styles=UNSEEN_STYLES,
        accepted=("ValidationMismatch",),
        near=_OVERFITTING,
        reports=True,
    ),
    LoopFault(
        name="trained_on_validation",
        sentence="the evaluation was copied from training and updates the weights",
        source="github.com/hachanook/pyinn/issues/3",
        styles=UNSEEN_STYLES,
        accepted=("DataLeak",),
        needs=("random",),
        reports=True,
    ),
    LoopFault(
        name="predictions_shuffled",
        sentence="predictions of a shuffled loader are compared with labels in the order of the dataset",
        source="github.com/skorch-dev/skorch/issues/499",
        styles=("trainer_class",),
        accepted=(),
        near=("ValidationMismatch",),
        reports=True,
    ),
    LoopFault(
        name="metric_of_values",
        sentence="the accuracy compares labels with the largest outputs, not with their indices",
        source=COMMON,
        styles=("iterations", "accelerated"),
        accepted=(),
        near=("ValidationMismatch",),
        reports=True,
    ),
)

_MODELS = (
    LoopFault(
        name="functional_dropout",
        sentence="F.dropout without its training argument stays active in evaluation",
        source="github.com/pytorch/pytorch/issues/11999",
        styles=UNSEEN_STYLES,
        accepted=("EvalModeMissing",),
        near=("DropoutTooHigh", "ValidationMismatch", "UnderfitCapacity"),
    ),
    LoopFault(
        name="checkpoint_prefix",
        sentence="the keys of the pretrained weights have a prefix, and strict=False loads none of them",
        source="github.com/pytorch/examples/issues/1029",
        styles=UNSEEN_STYLES,
        accepted=(),
        near=("PoorWeightInitialization", "LearningRateTooLow", "UnderfitCapacity", *SYMPTOMS),
        needs=("pretrained",),
    ),
    LoopFault(
        name="initialised_after_loading",
        sentence="model.apply(weights_init) stands behind the loading of the pretrained weights",
        source=COMMON,
        styles=UNSEEN_STYLES,
        accepted=(),
        near=("PoorWeightInitialization", "LearningRateTooLow", "UnderfitCapacity", *SYMPTOMS),
        needs=("pretrained",),
    ),
    LoopFault(
        name="batch_norm_in_evaluation",
        sentence="BatchNorm of a random network is kept in evaluation mode, as one does with a pretrained one",
        source=COMMON,
        styles=UNSEEN_STYLES,
        accepted=("TrainModeMissing",),
        near=("BatchNormDrift", "LearningRateTooHigh", *SYMPTOMS),
        needs=("batch_norm", "random"),
    ),
    LoopFault(
        name="features_without_gradient",
        sentence="the features of a random network are computed under torch.no_grad()",
        source=COMMON,
        styles=UNSEEN_STYLES,
        accepted=("FrozenByMistake", "UpdateMissing"),
        near=("UnderfitCapacity", *_UNMOVED),
        needs=("random",),
    ),
    LoopFault(
        name="layers_in_list",
        sentence="the convolutions stand in a Python list, so the optimizer and the modes do not reach them",
        source="github.com/pytorch/pytorch/issues/59925",
        styles=UNSEEN_STYLES,
        accepted=("FrozenByMistake",),
        near=("UnderfitCapacity", "UpdateMissing", "EvalModeMissing", "BatchNormDrift", *_UNMOVED),
        needs=("own_layers",),
    ),
    LoopFault(
        name="head_made_in_forward",
        sentence="the last layer is made in forward, with other random weights each time",
        source="github.com/yangze0930/NTS-Net/issues/14, of a dropout made in forward",
        styles=UNSEEN_STYLES,
        accepted=("FrozenByMistake", "UpdateMissing"),
        near=_UNMOVED,
    ),
    LoopFault(
        name="evaluated_copy_stale",
        sentence="a copy of the model from before the training is evaluated and kept, and nothing updates it",
        source=COMMON,
        styles=UNSEEN_STYLES,
        accepted=("AveragingTooSlow",),
        near=("ValidationMismatch", "FrozenByMistake", "UpdateMissing", *_UNMOVED),
    ),
)

UNSEEN_KINDS: tuple[LoopFault, ...] = (*_LOSSES, *_STEPS, *_RATES, *_DATA, *_MODELS)
