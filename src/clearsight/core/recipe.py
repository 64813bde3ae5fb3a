"""Recipe: everything that decides how a model is trained, declared once.

Each field's name is its flag (`--lr`), its YAML key, its keyword argument and its name in a search space. Names are
unique over all sections, so `lr: 0.001` and `optim: {lr: 0.001}` mean the same. Help and range stand in the field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from clearsight.core.errors import BadChoice, BadValue, NotFound
from clearsight.core.preprocess import Channel, Interpolation
from clearsight.core.settings import Section, bad_value, setting


class DataSection(Section):
    """What is read and how it is shown to the model."""

    format: str = setting("auto", "dataset format, or auto: look at what is there")
    label_column: str | None = setting(None, "column with the class, for tables and HDF5")
    id_column: str | None = setting(None, "column with the images' keys, for HDF5 with a table")
    split_column: str | None = setting(None, "column that says train, valid or test, for tables")
    limit: int | None = setting(None, "use a stratified sample of this many images", low=2)
    valid_fraction: float = setting(
        0.15, "share kept for validation where the data has no such split", above=0, below=1
    )
    test_fraction: float = setting(0.15, "share kept for the test where the data has no such split", low=0, below=1)
    image_size: int | None = setting(
        None, "input height = width in pixels [default: the weights' own]", low=8, high=2048
    )
    mean: Channel | None = setting(None, "channel means in [0, 1] [default: the weights' own]")
    std: Channel | None = setting(None, "channel standard deviations [default: the weights' own]")
    interpolation: Interpolation | None = setting(None, "resize filter [default: the weights' own]")
    augment: Literal["none", "light", "standard", "randaugment"] = setting("none", "random changes to training images")
    sampling: Literal["natural", "balanced"] = setting(
        "natural", "draw training images as they come, or classes evenly"
    )
    on_bad: Literal["skip", "fail"] = setting("skip", "images that cannot be decoded: leave out and report, or stop")
    ignore_class: tuple[str, ...] = setting((), "leave this class out")
    max_pixels: int = setting(50_000_000, "refuse images with more pixels than this", low=1)
    workers: int | None = setting(None, "threads that read and decode [default: by cores]", low=0, high=256)
    keep_pixels: bool = setting(True, "keep decoded images in memory between epochs, as far as it goes")


class ModelSection(Section):
    """Which network, where its weights come from, what is trained of it."""

    model: str = setting("timm/mobilenetv2_100", "torchvision name, timm/<name>, or tiny", flags=("-m",))
    weights: str = setting("default", "default | none | a .safetensors or .pth file")
    head: tuple[int, ...] = setting((), "hidden widths of the head, e.g. 750,500,250 [default: one linear layer]")
    dropout: float = setting(0.0, "dropout in the head", low=0, below=1, search="float(0,0.5)")
    freeze: str = setting(
        "none", "backbone | none | number of stages | stage name: not trained", search="[backbone,none]"
    )


class OptimSection(Section):
    """How weights are changed."""

    optimizer: Literal["adamw", "adam", "sgd"] = setting("adamw", "update rule")
    lr: float | None = setting(
        None,
        "peak learning rate [default: 0.01 for sgd, else 0.001, and up to 0.005 for a head in few steps]",
        above=0,
        high=10,
        log=True,
        flags=("--learning-rate",),
        search="log(1e-5,1e-1)",
    )
    momentum: float = setting(0.9, "sgd momentum", low=0, below=1, search="float(0.5,0.99)")
    eps: float = setting(1e-8, "adam and adamw epsilon", above=0, high=1, log=True, search="log(1e-10,1e-4)")
    weight_decay: float = setting(
        0.01,
        "decoupled for adamw, L2 otherwise; not on biases and norms",
        low=0,
        high=1,
        log=True,
        search="log(1e-6,1e-1)",
    )
    schedule: Literal["cosine", "step", "constant"] = setting("cosine", "learning rate over the run")
    warmup: float = setting(
        0.05, "share of the steps in which the rate rises from 0", low=0, below=1, search="float(0,0.3)"
    )
    step_size: int = setting(10, "step schedule: epochs between drops", low=1, search="int(1,20)")
    gamma: float = setting(0.1, "step schedule: factor at each drop", above=0, below=1, search="float(0.05,0.9)")
    clip_grad: float | None = setting(None, "clip the gradient's L2 norm to this", above=0, search="log(0.1,10)")
    accumulate: int = setting(1, "batches per optimizer step", low=1, search="[1,2,4]")
    head_lr: float | None = setting(
        None,
        "first phase: peak learning rate [default: lr, and up to 0.005 in few steps]",
        above=0,
        high=10,
        log=True,
        search="log(1e-5,1e-1)",
    )
    backbone_lr_factor: float = setting(
        0.1, "second phase: backbone rate = lr x this", above=0, high=1, search="log(1e-3,1)"
    )

    @property
    def peak(self) -> float:
        """The learning rate that was said, else the optimizer's usual one."""
        return self.lr if self.lr is not None else 1e-2 if self.optimizer == "sgd" else 1e-3


class TrainSection(Section):
    """How long, on what, and what is watched."""

    epochs: int | None = setting(
        None,
        "passes over the training split [default: 10, or 30 of a head on cached features]",
        low=1,
        high=100_000,
        search="int(5,40)",
    )
    head_epochs: int = setting(0, "first phase: this many of the epochs train the head alone", low=0, search="int(0,5)")
    batch_size: int = setting(
        32, "images per batch", low=1, high=65_536, log=True, flags=("-b",), search="[32,64,128,256,512]"
    )
    seed: int = setting(0, "everything random follows from it", low=0, high=2**32 - 1)
    label_smoothing: float = setting(
        0.0, "share of the target spread over all classes", low=0, below=1, search="float(0,0.2)"
    )
    mixup: float = setting(0.0, "mixup alpha; 0 is off", low=0, search="float(0,0.4)")
    cutmix: float = setting(0.0, "cutmix alpha; 0 is off", low=0, search="float(0,1)")
    class_weights: Literal["none", "balanced"] = setting("none", "weigh the loss by inverse class frequency")
    ema: float = setting(
        0.0,
        "decay of a running average of the weights, evaluated and kept; 0 is off",
        low=0,
        below=1,
        search="[0,0.9,0.99,0.999]",
    )
    monitor: Literal["accuracy", "loss", "macro_f1", "roc_auc"] = setting(
        "accuracy", "validation score that picks the best epoch"
    )
    patience: int | None = setting(None, "stop after so many epochs without a better score", low=1)
    time_limit: float | None = setting(None, "stop after so many seconds (also 90s, 10m, 2h), resumable", above=0)
    device: str = setting("auto", "auto | cpu | cuda | cuda:N")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting("auto", "auto: bf16 on a GPU that has it, else fp32")
    channels_last: Literal["auto", "on", "off"] = setting("auto", "memory layout of images; auto: on")
    threads: int | None = setting(None, "torch threads [default: by cores]", low=1, high=1024)
    keep_memory: bool = setting(True, "on a CPU keep what a step frees for the next one, instead of handing it back")
    feature_cache: bool = setting(True, "compute what is frozen once instead of every epoch")
    views: int = setting(1, "augmented views per image kept by the feature cache", low=1, high=1000)
    checkpoint_every: float = setting(120.0, "seconds between checkpoints inside an epoch", above=0)

    @property
    def passes(self) -> int:
        """The epochs that were said, else 10."""
        return 10 if self.epochs is None else self.epochs


class DebugSection(Section):
    """What the debugger saves, which rules look at it, and what is done about what they find."""

    debug: Literal["off", "light", "full"] = setting(
        "light", "what is saved: scalars and sampled statistics, or full statistics of all layers every 10 steps"
    )
    rules: str = setting("default", "default | all | none | names of rules, separated by commas")
    rule: tuple[str, ...] = setting((), 'a rule with parameters, "Overfit(patience=3)", or one of your own, my_rule.py')
    save: tuple[str, ...] = setting((), "save whole tensors too: a collection such as gradients, or a pattern of names")
    save_every: int | None = setting(None, "steps between saved statistics [default: by the plan and the rules]", low=1)
    on_finding: tuple[str, ...] = setting(
        (), "notify[:URL|:COMMAND] | stop | stop-trial | adjust | retry; of some findings: severe=stop, Overfit=adjust"
    )
    repair: int = setting(
        0, "let the debugger fix what it finds, at most so many times; --repair alone is 3", low=0, high=10
    )


class ProfileSection(Section):
    """What is measured of the machine while a network trains, and what is chosen by measuring first."""

    profile: Literal["off", "light", "full"] = setting(
        "light", "gauges and step times; full: a window of steps traced operator by operator too"
    )
    profile_every: float = setting(0.5, "seconds between looks at the machine", low=0.1, high=60)
    auto_tune: bool = setting(
        False, "before training, measure readers, threads, layout, precision and batch size that were not said"
    )


class Recipe(BaseModel):
    """One complete answer to "how was this trained?"; immutable, round-trips through YAML."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: DataSection = DataSection()
    model: ModelSection = ModelSection()
    optim: OptimSection = OptimSection()
    train: TrainSection = TrainSection()
    debug: DebugSection = DebugSection()
    profile: ProfileSection = ProfileSection()

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Recipe:
        """A recipe from nested or flat values; anything left out has its default.

        Raises BadChoice for an unknown key and BadValue for a value outside its range, both naming the key.
        """
        homes = {name: section for section, name, _ in fields()}
        nested: dict[str, dict[str, Any]] = {section: {} for section in cls.model_fields}
        for key, value in values.items():
            if key in nested and isinstance(value, Mapping):
                for inner, setting in value.items():
                    if homes.get(inner) != key:
                        own = [name for name, home in homes.items() if home == key]
                        raise BadChoice(f"{key}.{inner}", "there is no such setting", got=inner, allowed=own)
                    _put(nested[key], inner, setting)
            elif key in homes:
                _put(nested[homes[key]], key, value)
            else:
                raise BadChoice(str(key), "there is no such setting", got=key, allowed=homes)
        try:
            return cls.model_validate(nested)
        except ValidationError as error:
            raise _bad_value(error) from None

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """The recipe in a YAML file."""
        return cls.parse(read_yaml(path))

    def replace(self, **changes: Any) -> Recipe:
        """A copy with some fields changed, by flat name."""
        return self.parse({**self.flat(), **changes})

    def flat(self) -> dict[str, Any]:
        """Field name to value, over all sections."""
        return {name: getattr(getattr(self, section), name) for section, name, _ in fields()}

    def to_yaml(self) -> str:
        """YAML that `load` reads back as an equal recipe."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def fields() -> Iterator[tuple[str, str, FieldInfo]]:
    """(section, field name, declaration) of every setting, in order."""
    for section, declared in Recipe.model_fields.items():
        kind = declared.annotation
        assert isinstance(kind, type)
        assert issubclass(kind, Section)
        for name, info in kind.model_fields.items():
            yield section, name, info


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; raises BadValue when it is not one."""
    if not path.is_file():
        raise NotFound(str(path), "there is no such recipe file")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadValue(str(path), f"it is not YAML ({' '.join(str(error).split())})") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise BadValue(str(path), "a recipe is a mapping of settings, such as 'lr: 0.001'")
    return values


def _put(settings: dict[str, Any], key: str, value: Any) -> None:
    if key in settings:
        raise BadValue(key, "it is set twice, once flat and once in its section", fix="Keep one of them.")
    settings[key] = value


def _bad_value(error: ValidationError) -> BadValue | BadChoice:
    first = error.errors()[0]
    key = str(first["loc"][1] if len(first["loc"]) > 1 else first["loc"][0])
    info = next(info for _, name, info in fields() if name == key)
    return bad_value(error, f"{key} {first['input']!r}", first["input"], info)
