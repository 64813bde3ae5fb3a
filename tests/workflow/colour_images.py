"""Images of one colour for the network of `mean_colour`, which classifies by colour and needs no torch."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue, or so": (0, 0, 255), "weiß": (255, 255, 255)}


def write_image(path: Path, colour: str, size: int = 24) -> Path:
    """Write a PNG of one colour and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), COLOURS[colour]).save(path)
    return path


def write_class_folders(root: Path, counts: dict[str, int], size: int = 24) -> Path:
    """Write `counts[colour]` images into a folder per colour. Sizes differ, so that no two files are equal."""
    for colour, count in counts.items():
        for number in range(count):
            write_image(root / colour / f"{number}.png", colour, size + number)
    return root
