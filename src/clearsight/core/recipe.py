"""Recipe: every setting of a training run, declared once.

Each field's name is its flag (`--lr`), its YAML key, its keyword argument and its name in a search space. Names are
unique over all sections, so `lr: 0.001` and `optim: {lr: 0.001}` mean the same. Help and range stand in the field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.files import write_text
from clearsight.core.learning_rates import HEAD_RATES, usual_rate
from clearsight.core.other_words import answer
from clearsight.core.preprocess import Channel, GivenRange, Interpolation
from clearsight.core.secrets import redact
from clearsight.core.settings import Seconds, Section, bad_value, setting
from clearsight.core.yaml_file import read_yaml, yaml_text

# Models without pretrained weights, whose default weights are random.
UNTRAINED_MODELS = ("tiny", "mobilenetv1_025")


class DataSection(Section):
    """Settings of the dataset: what is read, and how images reach the model."""

    format: str = setting("auto", "dataset format; auto detects it from the files")
    label_column: str | None = setting(None, "column with the class, in tables and HDF5 files")
    id_column: str | None = setting(None, "column with the paths or keys of the images, in tables")
    split_column: str | None = setting(None, "column with the split of each image (train, valid or test), in tables")
    group_column: str | None = setting(
        None, "column with the patient, animal or recording of an image; all images of one go into the same split"
    )
    image_folder: str | None = setting(
        None, "folder with the images of a table [default: the table's folder and those below it]"
    )
    class_level: int | None = setting(
        None,
        "level of the folders that are classes, below the split: 1, or 2 for class folders in groups",
        low=1,
        high=2,
    )
    label_check: bool = setting(
        True, "refuse labels that look like numbers to predict, or like several classes of an image"
    )
    limit: int | None = setting(None, "use this many images only, a sample with the same share of each class", low=2)
    valid_fraction: float | None = setting(
        None,
        "share of the images for validation, if the data have no such split "
        "[default: 0.15, less of more than 1,000 images, more of fewer than 133]",
        above=0,
        below=1,
    )
    test_fraction: float = setting(
        0.15, "share of the images for the test, if the data have no such split", low=0, below=1
    )
    # Unset, these follow the pretrained weights: features are only good for images prepared as in their training.
    image_size: int | None = setting(
        None, "height and width of the input in pixels [default: that of the weights]", low=8, high=2048
    )
    mean: Channel | None = setting(None, "channel means in [0, 1] [default: those of the weights]")
    std: Channel | None = setting(None, "channel standard deviations [default: those of the weights]")
    interpolation: Interpolation | None = setting(None, "resize filter [default: that of the weights]")
    value_range: GivenRange = setting(
        None,
        "values that become black and white in images of more than 8 bits, such as 0,4095 [default: auto, by the "
        "values found]",
    )
    # Off for a frozen backbone: with random images its features cannot be cached, except as fixed `views`.
    augment: Literal["none", "light", "standard", "randaugment"] | None = setting(
        None, "random changes of the training images [default: light in a second phase by --freeze auto, else none]"
    )
    sampling: Literal["natural", "balanced"] = setting(
        "natural", "draw training images as the data have them, or every class equally often"
    )
    on_bad: Literal["skip", "fail"] = setting(
        "skip", "images that cannot be decoded: leave them out and report them, or stop"
    )
    ignore_class: tuple[str, ...] = setting((), "leave this class out; may be repeated")
    # Of a camera at most; a few kilobytes of PNG can decode to gigabytes.
    max_pixels: int = setting(
        50_000_000, "largest image in pixels; larger ones count as images that cannot be decoded", low=1
    )
    workers: int | None = setting(
        None, "threads that read and decode images [default: by the number of cores]", low=0, high=256
    )
    keep_pixels: bool = setting(True, "keep decoded images in memory between epochs, as many as fit")

    @property
    def resolved_augment(self) -> str:
        """The augmentation: `augment` where it is set, else none."""
        return self.augment or "none"


class ModelSection(Section):
    """Settings of the network: architecture, weights, head and frozen part."""

    model: str = setting("timm/mobilenetv2_100", "torchvision name, timm/NAME, or tiny", flags=("-m",))
    weights: str = setting(
        "default", "pretrained weights: default, none, a .safetensors or .pth file, or a run, bundle or last"
    )
    # () is the usual linear layer; hidden layers help where the frozen features do not separate the classes.
    head: tuple[int, ...] = setting(
        (), "widths of hidden layers in the head, such as 750,500,250 [default: one linear layer]"
    )
    dropout: float = setting(0.0, "dropout rate in the head", low=0, below=1, search="float(0,0.5)")
    # Text, since a number of stages, the name of a stage and a word share one flag.
    freeze: str = setting(
        "auto",
        "part that is not trained: backbone, none, a number of stages or the name of the last one; auto "
        "chooses by the weights, the number of images, the time that training takes, and the errors of a head alone",
        search="[backbone,none]",
    )

    @property
    def pretrained(self) -> bool:
        """True for weights that are not random."""
        return self.weights != "none" and not (self.weights == "default" and self.model in UNTRAINED_MODELS)

    @property
    def resolved_freeze(self) -> str:
        """The frozen part: `freeze`, and none for auto."""
        return "none" if self.freeze == "auto" else self.freeze


class OptimSection(Section):
    """Settings of the optimizer and of the learning-rate schedule."""

    optimizer: Literal["adamw", "adam", "sgd"] = setting("adamw", "optimizer")
    # Unset and not a number: the usual rate depends on the optimizer, and for a new head on the number of steps.
    lr: float | None = setting(
        None,
        f"peak learning rate [default: {usual_rate('sgd'):g} for sgd, else {usual_rate('adamw'):g}, and up to "
        f"{HEAD_RATES[1]:g} for a head in few steps]",
        above=0,
        high=10,
        flags=("--learning-rate",),
        search="log(1e-5,1e-1)",
    )
    momentum: float = setting(0.9, "momentum of sgd", low=0, below=1, search="float(0.5,0.99)")
    eps: float = setting(1e-8, "epsilon of adam and adamw", above=0, high=1, search="log(1e-10,1e-4)")
    weight_decay: float = setting(
        0.01,
        "weight decay, decoupled for adamw, L2 otherwise; not on biases and normalisation layers",
        low=0,
        high=1,
        search="log(1e-6,1e-1)",
    )
    schedule: Literal["cosine", "step", "constant"] | None = setting(
        None, "learning-rate schedule [default: cosine, and constant for a network that trains for 3 epochs or fewer]"
    )
    warmup: float = setting(
        0.05, "share of the steps in which the learning rate rises from 0", low=0, below=1, search="float(0,0.3)"
    )
    step_size: int = setting(10, "epochs between drops of the step schedule", low=1, search="int(1,20)")
    gamma: float = setting(0.1, "factor at each drop of the step schedule", above=0, below=1, search="float(0.05,0.9)")
    clip_grad: float | None = setting(
        None, "clip the L2 norm of the gradients to this value", above=0, search="log(0.1,10)"
    )
    accumulate: int = setting(1, "batches per optimizer step", low=1, search="[1,2,4]")
    head_lr: float | None = setting(
        None,
        "peak learning rate of the first phase, which trains the head alone "
        f"[default: lr, and up to {HEAD_RATES[1]:g} in few steps]",
        above=0,
        high=10,
        search="log(1e-5,1e-1)",
    )
    # Smaller, or large steps would destroy the pretrained features before the head has learned anything.
    backbone_lr_factor: float = setting(
        0.1,
        "learning rate of the backbone in the second phase, as a multiple of lr",
        above=0,
        high=1,
        search="log(1e-3,1)",
    )

    @property
    def resolved_lr(self) -> float:
        """The peak learning rate: `lr` where it is set, else the optimizer's usual rate."""
        return self.lr if self.lr is not None else usual_rate(self.optimizer)

    @property
    def resolved_schedule(self) -> str:
        """The schedule: `schedule` where it is set, else cosine."""
        return self.schedule or "cosine"


class TrainSection(Section):
    """Settings of the training loop: length, loss, device, memory and checkpoints."""

    epochs: int | None = setting(
        None, "epochs [default: 10, or 30 for a head on cached features]", low=1, high=100_000, search="int(5,40)"
    )
    head_epochs: int | None = setting(
        None,
        "epochs of the first phase, of the head alone; they count as epochs [default: 0, or as --freeze auto chooses]",
        low=0,
        search="int(0,5)",
    )
    # A setting, so that a recipe of two augmented phases means what it meant before there was a choice.
    head_augment: bool | None = setting(
        None,
        "augment the images of the first phase too, instead of caching its features "
        "[default: yes, except where --freeze auto chooses the phases]",
    )
    second_phase: Literal["always", "if_needed"] | None = setting(
        None,
        "train and use the second phase always; or if_needed: only where the head leaves enough errors to learn from, "
        "and with a gain of more than its standard error [default: always, or as --freeze auto chooses]",
    )
    second_batch_size: int | None = setting(None, "images per batch in the second phase [default: batch_size]", low=1)
    reset_head: bool | None = setting(None, "new head for the second phase [default: no, or as --freeze auto chooses]")
    batch_size: int = setting(32, "images per batch", low=1, high=65_536, flags=("-b",), search="[32,64,128,256,512]")
    # 2**32 - 1 is the largest seed of numpy and scikit-learn.
    seed: int = setting(0, "seed of everything random", low=0, high=2**32 - 1)
    label_smoothing: float = setting(
        0.0,
        "label smoothing: share of the target that is spread over all classes",
        low=0,
        below=1,
        search="float(0,0.2)",
    )
    mixup: float = setting(0.0, "alpha of mixup; 0 turns it off", low=0, search="float(0,0.4)")
    cutmix: float = setting(0.0, "alpha of cutmix; 0 turns it off", low=0, search="float(0,1)")
    class_weights: Literal["none", "balanced"] = setting(
        "none", "weights of the classes in the loss; balanced: by inverse frequency"
    )
    ema: float = setting(
        0.0,
        "decay of an average of the weights over the steps, which becomes the model; 0 turns it off",
        low=0,
        below=1,
        search="[0,0.9,0.99,0.999]",
    )
    monitor: Literal["accuracy", "loss", "macro_f1", "roc_auc"] = setting(
        "accuracy", "validation score that picks the best epoch"
    )
    patience: int | None = setting(None, "stop after this many epochs without a better score", low=1)
    refit: bool = setting(
        False,
        "once the best epoch is known, train again on training and validation images together, up to that epoch",
    )
    time_limit: Seconds | None = setting(
        None, "stop after this time, so that --resume can continue: seconds, or 90s, 10m, 2h", above=0, unit="s"
    )
    device: str = setting("auto", "auto, cpu, cuda or cuda:N")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        "auto", "floating-point format; auto: bf16 on a GPU that supports it, else fp32"
    )
    channels_last: Literal["auto", "on", "off"] = setting("auto", "channels-last memory layout; auto: on")
    threads: int | None = setting(None, "threads of torch [default: by the number of cores]", low=1, high=1024)
    keep_memory: bool = setting(
        True, "keep memory that a step frees for the next step, instead of returning it to the system; CPU only"
    )
    feature_cache: bool = setting(True, "compute the output of the frozen part once instead of in every epoch")
    views: int = setting(1, "augmented views of each image in the feature cache", low=1, high=1000)
    # Bounds what a kill costs in a long epoch; an epoch of 10 s or more ends with a checkpoint anyway.
    checkpoint_every: Seconds = setting(120.0, "seconds between checkpoints within an epoch", above=0, unit="s")

    @property
    def resolved_epochs(self) -> int:
        """The planned epochs: `epochs` where they are set, else 10."""
        return 10 if self.epochs is None else self.epochs

    @property
    def resolved_head_epochs(self) -> int:
        """The epochs of the first phase: `head_epochs` where they are set, else 0."""
        return self.head_epochs or 0


class DebugSection(Section):
    """Settings of the debugger: what it saves, which rules run, and what follows from their findings."""

    debug: Literal["off", "light", "full"] = setting(
        "light", "light: save scalars and some statistics; full: save statistics of all layers every 10 steps"
    )
    # Parsed in debugger.rule_parser, which knows the rules; core does not.
    rules: str = setting("default", "rules to run: default, all, none, or names separated by commas")
    rule: tuple[str, ...] = setting(
        (), 'a rule with parameters, "Overfit(patience=3)", or your own in a file, my_rule.py; may be repeated'
    )
    save: tuple[str, ...] = setting(
        (), "also save whole tensors: a collection such as gradients, or a pattern of names; may be repeated"
    )
    save_every: int | None = setting(None, "steps between saved statistics [default: as the rules need them]", low=1)
    on_finding: tuple[str, ...] = setting(
        (),
        "what to do on a finding: notify[:URL|:COMMAND], stop, stop-trial, adjust or retry; "
        "for some findings only: severe=stop, Overfit=adjust; may be repeated",
    )
    # Off by default: each attempt is a whole training.
    repair: int = setting(
        0,
        "train again with the fixes of the debugger, at most this many times; --repair without a number is 3",
        low=0,
        high=10,
    )


class ProfileSection(Section):
    """Settings of the profiler, and of the choice of fast settings before training."""

    profile: Literal["off", "light", "full"] = setting(
        "light", "light: measure the machine and the steps; full: also trace some steps operator by operator"
    )
    profile_every: float = setting(0.5, "seconds between samples of the machine", low=0.1, high=60)
    auto_tune: bool = setting(
        False,
        "before training, measure which workers, threads, memory layout, precision and batch size are fastest; "
        "those that are set stay as they are",
    )


class Recipe(BaseModel):
    """All settings of one training run; immutable, and equal after writing to YAML and reading back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: DataSection = DataSection()
    model: ModelSection = ModelSection()
    optim: OptimSection = OptimSection()
    train: TrainSection = TrainSection()
    debug: DebugSection = DebugSection()
    profile: ProfileSection = ProfileSection()

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Recipe:
        """Return the recipe with nested or flat values; what is left out has its default.

        Raises BadChoice for an unknown key and BadValue for a value outside its range, both naming the key.
        """
        # Names are unique over all sections, so a flat key has one section.
        sections = {name: section for section, name, _ in fields()}
        nested: dict[str, dict[str, Any]] = {section: {} for section in cls.model_fields}
        for key, value in values.items():
            in_section = key in nested and isinstance(value, Mapping)
            if key in nested and key not in sections and not in_section:
                raise BadValue(str(key), "must be a mapping of settings, since it is a section")
            allowed = [name for name, section in sections.items() if section == key or not in_section]
            for name, inner in (value if in_section else {key: value}).items():
                if name not in allowed:
                    what = f"{key}.{name}" if in_section else str(name)
                    if told := answer(str(name)):  # not the nearest name: `bs` is not ema
                        raise BadChoice(what, "no such setting", fix=told)
                    raise BadChoice(what, "no such setting", got=name, allowed=allowed)
                settings = nested[sections[name]]
                if name in settings:
                    raise BadValue(name, "set twice, once at the top and once in its section", fix="Keep one.")
                settings[name] = inner
        try:
            return cls.model_validate(nested)
        except ValidationError as error:
            location = error.errors()[0]["loc"]
            key = str(location[1] if len(location) > 1 else location[0])
            info = next(info for _, name, info in fields() if name == key)
            raise bad_value(error, f"{key} {error.errors()[0]['input']!r}", info) from None

    @classmethod
    def load(cls, path: Path) -> Recipe:
        return cls.parse(read_yaml(path))

    def replace(self, **changes: Any) -> Recipe:
        """Return a copy with some settings changed, by flat name."""
        return self.parse({**self.flat(), **changes})

    def flat(self) -> dict[str, Any]:
        """Return the value of each setting by its name, over all sections."""
        return {name: getattr(getattr(self, section), name) for section, name, _ in fields()}

    def without_secrets(self) -> Recipe:
        """Return the recipe with `***` for each password and token of an address in it, for what others may see."""
        values = self.flat()
        shown: dict[str, Any] = {name: redact(value) for name, value in values.items() if isinstance(value, str)}
        # Of the settings with a list of words, this one alone takes addresses.
        shown["on_finding"] = [redact(text) for text in self.debug.on_finding]
        changed = {name: value for name, value in shown.items() if value not in (values[name], list(values[name]))}
        return self.replace(**changed) if changed else self

    def write(self, path: Path, comment: str = "") -> None:
        """Write the recipe as YAML with a comment before it; with mode 0600 where it holds a password or a token."""
        write_text(path, comment + self.to_yaml(), private=self.without_secrets() != self)

    def to_yaml(self) -> str:
        """Return YAML that `load` reads back as an equal recipe."""
        return yaml_text(self.model_dump(mode="json"))


def fields() -> Iterator[tuple[str, str, FieldInfo]]:
    """Yield (section, name, declaration) of every setting, in order."""
    for section, declared in Recipe.model_fields.items():
        kind = declared.annotation
        assert isinstance(kind, type)
        assert issubclass(kind, Section)
        yield from ((section, name, info) for name, info in kind.model_fields.items())
