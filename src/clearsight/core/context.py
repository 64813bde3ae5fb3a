"""RunContext: circumstances of a run, beside what was measured. Plain values that go to JSON and come back equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from clearsight.core.label_check import LabelCheck
from clearsight.core.records import read_record


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerInfo:
    """A leaf module.

    kind: conv | linear | norm | relu | sigmoid | tanh | activation | dropout | pool | embedding | attention | other.
    type: name of its class.  frozen: True if it stays in evaluation mode and has no trainable parameter.
    rate: share of its inputs that a dropout layer sets to 0; share of a batch in BatchNorm's running statistics.
    """

    name: str
    kind: str
    type: str
    frozen: bool = False
    rate: float = 0.0

    @property
    def is_batch_norm(self) -> bool:
        """True for BatchNorm of any kind."""
        return self.kind == "norm" and "batch" in self.type.lower()


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterInfo:
    """A parameter.

    trainable: True if it takes gradients.  optimized: True if the optimizer holds it.  head: True if it belongs to the
    last layer with parameters.  kind: weight | bias | norm.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    kind: str
    trainable: bool
    optimized: bool
    head: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerInfo:
    """Settings of an optimizer, of the group that holds the most numbers; 0 for none.

    decoupled: True if the weight decay does not pass through the gradient (AdamW).  eps: of Adam and its kin.
    slow_share: share of the numbers whose group has less than a twentieth of the highest rate.
    maximize: True if the optimizer raises the loss.
    """

    weight_decay: float = 0.0
    decoupled: bool = False
    momentum: float = 0.0
    eps: float = 0.0
    slow_share: float = 0.0
    maximize: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleInfo:
    """A learning-rate scheduler of torch on the watched optimizer.

    type: name of its class, "" for none.  horizon: its own steps until it has run its course, begins again, or is at a
    tenth of its first rate; 0 for not known.  advanced: its steps while `steps` optimizer steps were made.
    mode, best: of ReduceLROnPlateau, "min" or "max" and the best value that it got; "" and None for the others.
    base: rate that the factors of a schedule are multiplied by; 0 for not known.
    """

    type: str = ""
    horizon: int = 0
    advanced: int = 0
    steps: int = 0
    mode: str = ""
    best: float | None = None
    base: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightWrites:
    """What something else than an optimizer wrote into the weights, as a sample of their values tells.

    checked: comparisons of the values after an optimizer step with those before the next.  changed: those that
    differed.
    returns: (training steps done when the weights became those of an earlier time, training steps done at that time):
    0 for before the first step, else an evaluation.
    replaced: training steps done when all weights became numbers that have nothing to do with those before.
    undone: share of the way of the optimizer that the writes took back: 1 where they put everything back.
    cut: share of the values that the first write set to one largest size, `limit`.  held: share that had the largest
    size after the last write.
    restarts: training steps done when another optimizer began.  begun_again: True if one began with the first weights.
    start_evaluated: True if the first weights were evaluated.
    final: training steps done when the weights of the end were seen first, where these are not those of the last step;
    None where they are, or were never seen.
    """

    checked: int = 0
    changed: int = 0
    returns: tuple[tuple[int, int], ...] = ()
    replaced: tuple[int, ...] = ()
    undone: float = 0.0
    limit: float = 0.0
    cut: float = 0.0
    held: float = 0.0
    restarts: tuple[int, ...] = ()
    begun_again: bool = False
    start_evaluated: bool = False
    final: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopInfo:
    """Counts of what an external loop did; all 0 where none was watched.

    backwards: forward passes whose outputs got a gradient.  lost: those whose gradients were cleared before any
    optimizer step.  steps: of the watched optimizer.  empty_steps: those at which no parameter had a gradient.
    unreached_steps: empty ones without a backward through the model since the step before.  forwards: of the model.
    moved: True if weights changed although the watched optimizer made no step.
    train_passes, train_passes_in_eval: backwards by the mode of the model.  train_seen_first: True if the first of them
    was in train mode.  eval_passes, eval_passes_in_train: evaluation passes by the mode of the model.
    misread: numbers of evaluation passes that a backward followed: they belong to the training.
    misread_train: training steps whose first pass was one of an evaluation, in train mode and with gradients on.
    mode_layers: layers that differ between the modes: BatchNorm, and Dropout with a rate above 0.
    width: of the outputs, 0 for not known.  highest_label: of the training, -1 for not known.
    loader_batches: batches of the training DataLoader, 0 for not known.
    loss_checks: passes in which the inputs of a loss were checked.  loss_faults: how often each fault was seen in them.
    loss_factor: factor by which the loop multiplied the mean loss of a batch before its backward, the number of images
    where it adds up their losses; 0 for not known.
    label_smoothing, class_weights: of a cross entropy; 0 and () for none.  positive_weight: of the label 1 of a binary
    one; 0 for none.
    unstepped: backwards after the last step of the watched optimizer.
    unfrozen: weights that were frozen when the loop began, take gradients now, and that its optimizer does not hold.
    attributes: modules on which requires_grad was set as an attribute, while their parameters are still frozen.
    unwatched_losses: losses with gradients that were computed without a forward pass of the watched model.
    norms, unset_norms: BatchNorms, and those whose running statistics are at the end still those of a new layer.
    hidden_weights: weights that the outputs depend on and that neither the model nor an optimizer knows.
    renewed_weights: True if they are others in every forward pass.
    held_out_steps: optimizer steps on batches that met the model in evaluation mode, of other data than the training.
    output_factor: number by which the loop multiplied the outputs before a loss on logits; 0 for not known.
    own_share: mean share of its own that an image has where images are mixed and their labels are not; 1 elsewhere.
    averaged: share of the way of the trained weights that their moving average has gone, where another model of such
    weights is what the loop evaluates; None where there is none.  averaged_unset: its BatchNorms with the statistics of
    new layers.
    writes: what something else than an optimizer wrote into the weights.
    trained_batches, skipped_batches: batches of training DataLoaders that met the model in train mode with gradients
    on, with and without a backward or step behind them.  unfollowed: those without, of any source.
    epoch_draws, epoch_images: indices that the sampler of the training DataLoader drew in an epoch, and different ones
    among them, of a dataset of `dataset_images`; 0 for not known.
    iterations, iterated: over the training DataLoader that have ended, and their batches.  broken_off: those of which
    less than a quarter of the batches was drawn.
    """

    forwards: int = 0
    backwards: int = 0
    lost: int = 0
    steps: int = 0
    empty_steps: int = 0
    unreached_steps: int = 0
    moved: bool = False
    train_passes: int = 0
    train_passes_in_eval: int = 0
    train_seen_first: bool = False
    eval_passes: int = 0
    eval_passes_in_train: int = 0
    misread: tuple[int, ...] = ()
    misread_train: tuple[int, ...] = ()
    mode_layers: int = 0
    width: int = 0
    highest_label: int = -1
    loader_batches: int = 0
    loss_checks: int = 0
    loss_faults: Mapping[str, int] = field(default_factory=dict)
    loss_factor: float = 0.0
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] = ()
    positive_weight: float = 0.0
    unstepped: int = 0
    unfrozen: int = 0
    attributes: int = 0
    unwatched_losses: int = 0
    norms: int = 0
    unset_norms: int = 0
    hidden_weights: int = 0
    renewed_weights: bool = False
    held_out_steps: int = 0
    output_factor: float = 0.0
    own_share: float = 1.0
    averaged: float | None = None
    averaged_unset: int = 0
    trained_batches: int = 0
    skipped_batches: int = 0
    unfollowed: int = 0
    epoch_draws: int = 0
    epoch_images: int = 0
    dataset_images: int = 0
    iterations: int = 0
    iterated: int = 0
    broken_off: int = 0
    schedule: ScheduleInfo = field(default_factory=ScheduleInfo)
    writes: WeightWrites = field(default_factory=WeightWrites)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunContext:
    """Circumstances of a run that a rule may use. None and 0 mean: not known.

    steps, epochs: planned.  settings: recipe fields by name, for fixes that build on them; {} in an external loop.
    pretrained: True for weights from elsewhere.  random_start: share of the hidden weights that looked like random
    numbers before the training.  weights_mean, weights_std: normalisation of images in [0, 1] that
    those weights expect.  usual_mean, usual_std: that of the published weights of this architecture, which need not be
    the weights in use.  used_mean, used_std: normalisation of the recipe.
    class_counts: training images per class.  duplicates: per split, images that also are in the training split.
    blank_images: training images that are nearly one colour.
    label_check: the labels beside frozen features, where the run has them in a cache; None: not checked.
    cached: True if the model is the part behind cached features, so that its inputs are no images.
    update: settings of the optimizer.  optimizer_since: its first step, where another one was watched before; else 0.
    loop: what an external loop did.
    """

    # Defaults mean "not known" and are falsy: `if context.steps` asks for both at once.
    steps: int = 0
    epochs: int = 0
    steps_per_epoch: int = 0
    batch_size: int = 0
    classes: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    model: str = ""
    optimizer: str = ""
    optimizer_since: int = 0
    lr: float = 0.0
    loss: str = ""
    pretrained: bool | None = None
    random_start: float | None = None
    weights_mean: tuple[float, ...] = ()
    weights_std: tuple[float, ...] = ()
    usual_mean: tuple[float, ...] = ()
    usual_std: tuple[float, ...] = ()
    used_mean: tuple[float, ...] = ()
    used_std: tuple[float, ...] = ()
    train_size: int = 0
    valid_size: int = 0
    duplicates: Mapping[str, int] = field(default_factory=dict)
    blank_images: int = 0
    label_check: LabelCheck | None = None
    cached: bool = False
    compiled: bool = False
    layers: tuple[LayerInfo, ...] = ()
    parameters: tuple[ParameterInfo, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    update: OptimizerInfo = field(default_factory=OptimizerInfo)
    loop: LoopInfo = field(default_factory=LoopInfo)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any], source: str = "context") -> RunContext:
        """Return the context that `to_json` wrote; raises BadData on `source` for values of another form.

        Keys of a newer version are left out, so that an older one can read its runs.
        """
        return read_record(cls, values, source)
