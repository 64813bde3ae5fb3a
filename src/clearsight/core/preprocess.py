"""Preprocess and Augment: how an image becomes numbers, as data for training, evaluation, serving and explaining."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Channel = tuple[float, float, float]
ValueRange = tuple[float, float]  # stored values that become black and white

_NUMBER = r"-?\d+(?:\.\d+)?"
_RANGE = re.compile(rf"({_NUMBER})(?:-|\.\.)({_NUMBER})")  # 0-4095, -1000..3000


def _read_range(value: Any) -> Any:
    """Return "auto" as None and "0-4095" as a pair. Raises ValueError for numbers that do not rise."""
    text = value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
    if text is None or text == "auto":
        return None
    pair = match.groups() if isinstance(text, str) and (match := _RANGE.fullmatch(text)) else value
    try:
        low, high = map(float, pair)
    except (TypeError, ValueError):
        low = high = 0.0
    if not (low < high and math.isfinite(high - low)):
        raise ValueError("must be auto, or two numbers of which the second is larger, such as 0,4095")
    return low, high


GivenRange: TypeAlias = Annotated[ValueRange | None, BeforeValidator(_read_range)]  # None: by the values found

IMAGENET_MEAN: Channel = (0.485, 0.456, 0.406)  # of RGB in [0, 1]; most pretrained weights expect them
IMAGENET_STD: Channel = (0.229, 0.224, 0.225)


class Preprocess(BaseModel):
    """Preprocessing: short side to `resize`, centre crop to `size`, scale to [0, 1], subtract `mean`, divide by `std`.

    value_range: of images whose values have more than 8 bits; None scales each by the range of its type (see `decode`).
    `source` names the origin of the values (the weights' metadata, flags, a default). It is shown, since a wrong mean
    costs many points of accuracy without any error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    size: Annotated[int, Field(ge=8, le=2048)]  # pixels, height = width
    resize: Annotated[int, Field(ge=8, le=4096)]  # pixels, short side before the crop
    mean: Channel = IMAGENET_MEAN
    std: Channel = IMAGENET_STD
    interpolation: Interpolation = "bilinear"
    value_range: GivenRange = None
    source: str = "default"

    @model_validator(mode="after")
    def _possible(self) -> Preprocess:
        if self.resize < self.size:
            raise ValueError(f"resize ({self.resize}) must be at least size ({self.size})")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {self.std}")
        return self


class Augment(BaseModel):
    """Random changes to training images; every value at its default changes nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flip: Annotated[float, Field(ge=0, le=1)] = 0.0  # probability of a left-right mirror
    scale: tuple[float, float] = (1.0, 1.0)  # area share of a random-resized crop; (1, 1) keeps the evaluation crop
    ratio: tuple[float, float] = (3 / 4, 4 / 3)  # aspect ratio of that crop
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0  # degrees, uniform in [-rotate, rotate]
    colour: Annotated[float, Field(ge=0, le=1)] = 0.0  # brightness, contrast, saturation factors in [1 - c, 1 + c]
    operations: Annotated[int, Field(ge=0, le=14)] = 0  # RandAugment N
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9  # RandAugment M of 30

    @property
    def random(self) -> bool:
        return bool(self.flip or self.scale != (1.0, 1.0) or self.rotate or self.colour or self.operations)


PRESETS: dict[str, Augment] = {
    "none": Augment(),
    "light": Augment(flip=0.5, scale=(0.6, 1.0)),
    "standard": Augment(flip=0.5, scale=(0.35, 1.0), rotate=10.0, colour=0.2),
    "randaugment": Augment(flip=0.5, scale=(0.35, 1.0), operations=2, magnitude=9),
}
