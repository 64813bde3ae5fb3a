"""ExportedModel: a further form of the network in a bundle, with the figures of the gate that it has passed."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

Target: TypeAlias = Literal["onnx", "openvino", "torch-export"]
Precision: TypeAlias = Literal["fp32", "fp16", "int8"]
InputKind: TypeAlias = Literal["prepared", "pixels"]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]

BATCH_SIZES = (1, 2, 7)  # a graph that was traced with one size can be wrong at another; 7 is odd and prime
_SUFFIXES: dict[Target, str] = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2"}


class GateFigures(BaseModel):
    """Comparison of an exported model with the network in torch on the same labelled images.

    images: their number.  source: where they come from.  agreement: share of images with the same most probable class.
    probability_difference: the largest of any class and image.  accuracy, torch_accuracy: shares of correct images.
    max_accuracy_loss: the limit that was asked for. Of several batch sizes each figure is the worst.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(ge=1)
    source: str
    batch_sizes: tuple[Annotated[int, Field(ge=1)], ...] = BATCH_SIZES
    agreement: Share
    probability_difference: Share
    accuracy: Share
    torch_accuracy: Share
    max_accuracy_loss: FiniteFloat = Field(ge=0)

    @property
    def accuracy_loss(self) -> float:
        """Return the accuracy that the exported model has lost; negative where it has gained."""
        return self.torch_accuracy - self.accuracy

    def __str__(self) -> str:
        return (
            f"on {self.images:,} images: same class on {100 * self.agreement:.2f} %, probabilities within "
            f"{self.probability_difference:.2g}, accuracy {self.accuracy:.4f} (torch {self.torch_accuracy:.4f})"
        )


class ModelForm(BaseModel):
    """A form in which a network can be exported.

    input: "prepared" (N, 3, S, S) float32, or "pixels" (N, S, S, 3) uint8 where the graph prepares them itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: Target
    precision: Precision = "fp32"
    input: InputKind = "prepared"

    @property
    def name(self) -> str:
        """Return the name by which `--runtime` takes it: "onnx", "openvino-int8", "onnx-fp16-pixels"."""
        return "-".join([self.target, *self._differences()])

    @property
    def files(self) -> tuple[str, ...]:
        """Return the names of its files in a bundle; a runtime opens the first."""
        # They follow from the form, so that no manifest can point to another file.
        stem = ".".join(["model", *self._differences()])
        # OpenVINO has the weights in a file of their own.
        return tuple(
            stem + suffix for suffix in ([".xml", ".bin"] if self.target == "openvino" else [_SUFFIXES[self.target]])
        )

    def _differences(self) -> list[str]:
        usual = ("fp32", "prepared")
        return [word for word in (self.precision, self.input) if word not in usual]


class ExportedModel(ModelForm):
    """A form of the network that is in a bundle, with the figures of the gate that it has passed.

    calibration_images: training images that int8 was calibrated on.  versions: of the packages that wrote it.
    """

    gate: GateFigures
    calibration_images: int = Field(default=0, ge=0)
    versions: dict[str, str] = {}


def is_export_file(name: str) -> bool:
    """Return True for a name in a bundle that an exported model has; the network's own model.onnx is one of them."""
    return PurePosixPath(name).match("model*") and PurePosixPath(name).suffix in (*_SUFFIXES.values(), ".bin")
