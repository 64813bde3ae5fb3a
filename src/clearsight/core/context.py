"""Facts: what is known of a run beside what was measured. Plain values that go to JSON and come back equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerInfo:
    """A leaf module, in the order of the model.

    kind: conv | linear | norm | relu | sigmoid | tanh | activation | dropout | pool | embedding | attention | other.
    type: the class's own name.  frozen: whether it is kept in evaluation mode and has no trainable parameter.
    """

    name: str
    kind: str
    type: str
    frozen: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterInfo:
    """A parameter: `trainable` says that it takes gradients, `optimized` that the optimizer holds it.

    head: whether it belongs to the last layer with parameters.  kind: weight | bias | norm.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    kind: str
    trainable: bool
    optimized: bool
    head: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RunContext:
    """What a rule may know of a run. None and 0 mean: not known.

    steps, epochs: planned.  settings: recipe fields by name, for fixes that build on them; {} in a foreign loop.
    pretrained: whether the weights come from elsewhere.  weights_mean, weights_std: what those weights expect inputs to
    be normalised by, images in [0, 1].  used_mean, used_std: what the recipe normalises by.
    class_counts: training images per class.  duplicates: per split, images that also are in the training split.
    cached: whether the model under watch is the tail behind cached features, so that inputs are no images.
    """

    steps: int = 0
    epochs: int = 0
    steps_per_epoch: int = 0
    batch_size: int = 0
    classes: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    model: str = ""
    optimizer: str = ""
    lr: float = 0.0
    loss: str = ""
    pretrained: bool | None = None
    weights_mean: tuple[float, ...] = ()
    weights_std: tuple[float, ...] = ()
    used_mean: tuple[float, ...] = ()
    used_std: tuple[float, ...] = ()
    train_size: int = 0
    valid_size: int = 0
    duplicates: Mapping[str, int] = field(default_factory=dict)
    cached: bool = False
    compiled: bool = False
    layers: tuple[LayerInfo, ...] = ()
    parameters: tuple[ParameterInfo, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunContext:
        """Facts out of `to_json`; keys that a newer version wrote are left out."""
        known = {f.name: _tupled(values[f.name]) for f in fields(cls) if f.name in values}
        known["layers"] = tuple(LayerInfo(**layer) for layer in values.get("layers", ()))
        known["parameters"] = tuple(
            ParameterInfo(**{**parameter, "shape": tuple(parameter["shape"])})
            for parameter in values.get("parameters", ())
        )
        return cls(**known)


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
