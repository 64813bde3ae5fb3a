"""RunContext: circumstances of a run, beside what was measured. Plain values that go to JSON and come back equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from clearsight.core.records import read_record


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerInfo:
    """A leaf module.

    kind: conv | linear | norm | relu | sigmoid | tanh | activation | dropout | pool | embedding | attention | other.
    type: name of its class.  frozen: True if it stays in evaluation mode and has no trainable parameter.
    """

    name: str
    kind: str
    type: str
    frozen: bool = False


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
class RunContext:
    """Circumstances of a run that a rule may use. None and 0 mean: not known.

    steps, epochs: planned.  settings: recipe fields by name, for fixes that build on them; {} in an external loop.
    pretrained: True for weights from elsewhere.  weights_mean, weights_std: normalisation of images in [0, 1] that
    those weights expect.  usual_mean, usual_std: that of the published weights of this architecture, which need not be
    the weights in use.  used_mean, used_std: normalisation of the recipe.
    class_counts: training images per class.  duplicates: per split, images that also are in the training split.
    blank_images: training images that are nearly one colour.
    cached: True if the model is the part behind cached features, so that its inputs are no images.
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
    lr: float = 0.0
    loss: str = ""
    pretrained: bool | None = None
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
    cached: bool = False
    compiled: bool = False
    layers: tuple[LayerInfo, ...] = ()
    parameters: tuple[ParameterInfo, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any], source: str = "context") -> RunContext:
        """Return the context that `to_json` wrote; raises BadData on `source` for values of another form.

        Keys of a newer version are left out, so that an older one can read its runs.
        """
        return read_record(cls, values, source)
