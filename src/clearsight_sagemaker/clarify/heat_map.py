"""Heat map of an explanation: the segments of an image, blue where they raise the score, red where they lower it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from clearsight_sagemaker.clarify.explanation import ImageExplanation

_BLUE, _RED = np.array([30, 90, 220]), np.array([215, 40, 40])
_STRONGEST = 0.75  # share of the colour at the largest contribution
_SHORTEST, _LONGEST = 240, 640  # pixels of a panel's longer side
_BAR, _GAP = 34, 8  # pixels of the line of text above, and between the panels


def draw_heat_map(image: npt.NDArray[np.uint8], explanation: ImageExplanation, label: str) -> Image.Image:
    """Return the image beside its heat map. image: (H, W, 3).  label: of the predicted class."""
    height, width = image.shape[:2]
    scale = min(max(1.0, _SHORTEST / max(height, width)), _LONGEST / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    plain = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
    colours = Image.fromarray(_coloured(image, explanation)).resize(size, Image.Resampling.BICUBIC)
    segments = Image.fromarray(explanation.segments.astype(np.int32)).resize(size, Image.Resampling.NEAREST)
    overlay = np.asarray(colours).copy()
    overlay[_borders(np.asarray(segments))] = 255
    panel = Image.new("RGB", (2 * size[0] + 3 * _GAP, size[1] + _BAR + _GAP), "white")
    panel.paste(plain, (_GAP, _BAR))
    panel.paste(Image.fromarray(overlay), (size[0] + 2 * _GAP, _BAR))
    text = f"{label}  {explanation.scores[explanation.predicted]:.4g}   blue raises, red lowers"
    ImageDraw.Draw(panel).text((_GAP, _GAP), text, fill="black", font=ImageFont.load_default(14))
    return panel


def _coloured(image: npt.NDArray[np.uint8], explanation: ImageExplanation) -> npt.NDArray[np.uint8]:
    heat = explanation.heat_map()
    strength = np.abs(heat)[..., None] / max(float(np.abs(heat).max()), 1e-12) * _STRONGEST
    grey = image.mean(axis=-1, keepdims=True)  # so that colours of the image are not read as contributions
    colour = np.where(heat[..., None] >= 0, _BLUE, _RED)
    mixed: npt.NDArray[np.uint8] = np.clip((1 - strength) * grey + strength * colour, 0, 255).astype(np.uint8)
    return mixed


def _borders(segments: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    borders = np.zeros(segments.shape, dtype=np.bool_)
    borders[:, 1:] |= segments[:, 1:] != segments[:, :-1]
    borders[1:, :] |= segments[1:, :] != segments[:-1, :]
    return borders
