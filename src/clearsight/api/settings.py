"""Settings as typed keywords, for editors and type checkers. Written by docs/signatures.py; do not edit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict


class DataSettings(TypedDict, total=False):
    """Settings of the data section of a recipe."""

    format: str
    """Dataset format; auto detects it from the files."""

    label_column: str | None
    """Column with the class, in tables and HDF5 files."""

    id_column: str | None
    """Column with the paths or keys of the images, in tables."""

    split_column: str | None
    """Column with the split of each image (train, valid or test), in tables."""

    group_column: str | None
    """Column with the patient, animal or recording of an image; all images of one go into the same split."""

    image_folder: str | None
    """Folder with the images of a table."""

    class_level: int | None
    """Level of the folders that are classes, below the split: 1, or 2 for class folders in groups."""

    label_check: bool
    """Refuse labels that look like numbers to predict, or like several classes of an image."""

    limit: int | None
    """Use this many images only, a sample with the same share of each class."""

    valid_fraction: float | None
    """Share of the images for validation, if the data have no such split."""

    test_fraction: float
    """Share of the images for the test, if the data have no such split."""

    image_size: int | None
    """Height and width of the input in pixels."""

    mean: Sequence[float] | str | None
    """Channel means in [0, 1]."""

    std: Sequence[float] | str | None
    """Channel standard deviations."""

    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None
    """Resize filter."""

    value_range: Sequence[float] | str | None
    """Values that become black and white in images of more than 8 bits, such as 0,4095."""

    augment: Literal["none", "light", "standard", "randaugment"] | None
    """Random changes of the training images."""

    sampling: Literal["natural", "balanced"]
    """Draw training images as the data have them, or every class equally often."""

    on_bad: Literal["skip", "fail"]
    """Images that cannot be decoded: leave them out and report them, or stop."""

    ignore_class: Sequence[str] | str
    """Leave this class out; may be repeated."""

    max_pixels: int
    """Largest image in pixels; larger ones count as images that cannot be decoded."""

    workers: int | None
    """Threads that read and decode images."""

    keep_pixels: bool
    """Keep decoded images in memory between epochs, as many as fit."""


class RecipeSettings(DataSettings, TypedDict, total=False):
    """Every setting of a recipe."""

    model: str
    """Torchvision name, timm/NAME, or tiny."""

    weights: str | Path
    """Pretrained weights: default, none, a .safetensors or .pth file, or a run, bundle or last."""

    head: Sequence[int] | int | str
    """Widths of hidden layers in the head, such as 750,500,250."""

    dropout: float
    """Dropout rate in the head."""

    freeze: str | int
    """Part that is not trained: backbone, none, a number of stages or the name of the last one; auto chooses by the
    weights, the number of images, the time that training takes, and the errors of a head alone."""

    optimizer: Literal["adamw", "adam", "sgd"]
    """Optimizer."""

    lr: float | None
    """Peak learning rate."""

    momentum: float
    """Momentum of sgd."""

    eps: float
    """Epsilon of adam and adamw."""

    weight_decay: float
    """Weight decay, decoupled for adamw, L2 otherwise; not on biases and normalisation layers."""

    schedule: Literal["cosine", "step", "constant"] | None
    """Learning-rate schedule."""

    warmup: float
    """Share of the steps in which the learning rate rises from 0."""

    step_size: int
    """Epochs between drops of the step schedule."""

    gamma: float
    """Factor at each drop of the step schedule."""

    clip_grad: float | None
    """Clip the L2 norm of the gradients to this value."""

    accumulate: int
    """Batches per optimizer step."""

    head_lr: float | None
    """Peak learning rate of the first phase, which trains the head alone."""

    backbone_lr_factor: float
    """Learning rate of the backbone in the second phase, as a multiple of lr."""

    epochs: int | None
    """Epochs."""

    head_epochs: int | None
    """Epochs of the first phase, of the head alone; they count as epochs."""

    head_augment: bool | None
    """Augment the images of the first phase too, instead of caching its features."""

    second_phase: Literal["always", "if_needed"] | None
    """Train and use the second phase always; or if_needed: only where the head leaves enough errors to learn from, and
    with a gain of more than its standard error."""

    second_batch_size: int | None
    """Images per batch in the second phase."""

    reset_head: bool | None
    """New head for the second phase."""

    batch_size: int
    """Images per batch."""

    seed: int
    """Seed of everything random."""

    label_smoothing: float
    """Label smoothing: share of the target that is spread over all classes."""

    mixup: float
    """Alpha of mixup; 0 turns it off."""

    cutmix: float
    """Alpha of cutmix; 0 turns it off."""

    class_weights: Literal["none", "balanced"]
    """Weights of the classes in the loss; balanced: by inverse frequency."""

    ema: float
    """Decay of an average of the weights over the steps, which becomes the model; 0 turns it off."""

    monitor: Literal["accuracy", "loss", "macro_f1", "roc_auc"]
    """Validation score that picks the best epoch."""

    patience: int | None
    """Stop after this many epochs without a better score."""

    refit: bool
    """Once the best epoch is known, train again on training and validation images together, up to that epoch."""

    time_limit: float | str | None
    """Stop after this time, so that --resume can continue: seconds, or 90s, 10m, 2h."""

    device: str | int
    """Auto, cpu, cuda or cuda:N."""

    precision: Literal["auto", "fp32", "bf16", "fp16"]
    """Floating-point format; auto: bf16 on a GPU that supports it, else fp32."""

    channels_last: Literal["auto", "on", "off"]
    """Channels-last memory layout; auto: on."""

    threads: int | None
    """Threads of torch."""

    keep_memory: bool
    """Keep memory that a step frees for the next step, instead of returning it to the system; CPU only."""

    feature_cache: bool
    """Compute the output of the frozen part once instead of in every epoch."""

    views: int
    """Augmented views of each image in the feature cache."""

    checkpoint_every: float | str
    """Seconds between checkpoints within an epoch."""

    debug: Literal["off", "light", "full"]
    """Light: save scalars and some statistics; full: save statistics of all layers every 10 steps."""

    rules: str
    """Rules to run: default, all, none, or names separated by commas."""

    rule: Sequence[str] | str
    """A rule with parameters, 'Overfit(patience=3)', or your own in a file, my_rule.py; may be repeated."""

    save: Sequence[str] | str
    """Also save whole tensors: a collection such as gradients, or a pattern of names; may be repeated."""

    save_every: int | None
    """Steps between saved statistics."""

    on_finding: Sequence[str] | str
    """What to do on a finding: notify[:URL|:COMMAND], stop, stop-trial, adjust or retry; for some findings only:
    severe=stop, Overfit=adjust; may be repeated."""

    repair: int
    """Train again with the fixes of the debugger, at most this many times; --repair without a number is 3."""

    profile: Literal["off", "light", "full"]
    """Light: measure the machine and the steps; full: also trace some steps operator by operator."""

    profile_every: float
    """Seconds between samples of the machine."""

    auto_tune: bool
    """Before training, measure which workers, threads, memory layout, precision and batch size are fastest; those that
    are set stay as they are."""


class TuneSettings(RecipeSettings, TypedDict, total=False):
    """Every setting of a study and of its recipe. `time_limit` is that of the study."""

    trials: int
    """Number of trials."""

    parallel: int
    """Trials at the same time."""

    searcher: str
    """Search method: tpe, gp, random, grid, qmc, cmaes, nsga2, asha or hyperband."""

    pruner: str
    """Method that ends weak trials early: median, asha, hyperband or none."""

    target: float | None
    """End the study when the first metric reaches this value."""

    stop_after: int | None
    """End the study after this many trials in a row without an improvement."""

    epoch_budget: int | None
    """End the study after this many epochs in all; epochs that pruning saves are not counted."""

    stack: int
    """Heads that train together in one process, at most."""

    keep: int
    """Best trials whose weights stay on disk."""

    warm_start: Sequence[str] | str
    """Begin with the trials of an earlier study: its folder, last, or URL#NAME; may be repeated."""

    storage: str
    """URL of an Optuna storage that several machines may share; its password is never written."""

    on: str
    """Place of the trials: local, ray or ray://HOST:PORT, or one such as sagemaker."""

    cpus_per_trial: float | None
    """Cores of each trial on a cluster."""

    gpus_per_trial: float | None
    """GPUs of each trial on a cluster."""
