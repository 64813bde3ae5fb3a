"""Which stored values become black and white in a dataset, and which images then hold nothing to see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clearsight.core.dataset import Dataset, Notice
from clearsight.core.preprocess import ValueRange
from clearsight.data.scan import FLAT, Scan, ScannedImage
from clearsight.data.wide_values import USUAL_TOPS, usual_range

_FULL: ValueRange = (0.0, USUAL_TOPS[-1])  # of 16 bits
_BYTES: ValueRange = (0.0, 255.0)


def choose_value_range(dataset: Dataset, scan: Scan, given: ValueRange | None = None) -> ValueRange | None:
    """Return the range of values to read the dataset's images by: `given`, else one that holds the training images.

    It is the narrowest usual range (1, or 8 to 16 bits), since a 16-bit file may hold the values of an 8-bit or 12-bit
    camera. None where no image has more than 8 bits, or images of several types are mixed.
    """
    train = dataset.split("train")
    wide = _wide(scan.of(train if len(train) else dataset))
    if given is not None or not wide or len({image.depth for image in wide}) > 1:
        return given
    low, high = usual_range(*_extent(wide))
    return (low, high) if high > low else None


def value_notices(
    dataset: Dataset, scan: Scan, value_range: ValueRange | None, given: ValueRange | None = None
) -> list[Notice]:
    """Return notices about the range that was chosen or given, and about images that are nearly one colour by it."""
    good = [image for image in scan.of(dataset) if not image.bad]
    wide = _wide(good)
    notices: list[Notice] = []
    if given is not None:
        notices += _outside(wide, given)
    elif value_range is not None and wide:
        notices += _chosen(wide, len(good), value_range)
    blank = blank_images(good, value_range)
    if blank:
        first = blank[0]
        values = f"values {_words(_extent(blank))} of {(value_range or _FULL if first.depth else _BYTES)[1]:g}"
        text = f"{len(blank):,} of {len(good):,} images are nearly one colour, such as {first.id} ({values})"
        notices.append(Notice(code="blank-images", text=f"{text}{_reason(blank)}.", paths=tuple(i.id for i in blank)))
    return notices


def blank_images(images: Sequence[ScannedImage], value_range: ValueRange | None) -> list[ScannedImage]:
    """Return the images that are nearly one colour, read by the range."""
    return [image for image in images if not image.bad and _contrast(image, value_range) < FLAT]


def _wide(images: Sequence[ScannedImage]) -> list[ScannedImage]:
    return [image for image in images if image.depth and not image.bad]


def _extent(images: Sequence[ScannedImage]) -> ValueRange:
    return min(image.low for image in images), max(image.high for image in images)


def _contrast(image: ScannedImage, value_range: ValueRange | None) -> float:
    """Return the standard deviation in gray levels of 255 by a range; the scan has that by the image's own."""
    if not image.depth:
        return image.contrast
    if value_range is None:
        value_range = _FULL if image.depth == "uint16" else usual_range(image.low, image.high)
    low, high = value_range
    inside = max(min(image.high, high) - max(image.low, low), 0.0)  # what is clipped shows nothing
    extent = image.high - image.low
    return image.contrast * min(extent, inside) / (high - low) if high > low else 0.0


def _chosen(wide: list[ScannedImage], count: int, value_range: ValueRange) -> Iterator[Notice]:
    if value_range == _FULL and wide[0].depth == "uint16":
        return
    found, read = _words(_extent(wide)), f"from {_words(value_range)}"
    if wide[0].depth == "uint16":
        dark = sum(_contrast(image, _FULL) < FLAT for image in wide)
        many = f"{dark:,} of {count:,} images are nearly one colour" if dark else f"{count:,} images are dark"
        text = f"{many} by the full range of 16 bits, as their values are {found} of 65535: they are read {read}"
        yield Notice(code="value-range", text=f"{text} (--value-range 0,65535 reads the full range).")
        return
    text = f"{len(wide):,} of {count:,} images hold {wide[0].depth} values, {found}: they are read {read}"
    yield Notice(code="value-range", text=f"{text} (--value-range LOW,HIGH reads another range).")


def _outside(wide: list[ScannedImage], given: ValueRange) -> Iterator[Notice]:
    if not wide:
        text = f"--value-range {given[0]:g},{given[1]:g} changes nothing, since no image has more than 8 bits."
        yield Notice(code="value-range", text=text)
        return
    beyond = [image for image in wide if image.low < given[0] or image.high > given[1]]
    if beyond:
        text = f"{len(beyond):,} images have values outside of the range {_words(given)}, which are clipped"
        yield Notice(code="value-range", text=f"{text} (found: {_words(_extent(beyond))}).")


def _reason(blank: list[ScannedImage]) -> str:
    low, high = _extent(blank)
    if (low, high) == _BYTES[1:] * 2 and not blank[0].depth:
        return ": they are white, as fully transparent ones are, which are laid on white"
    return ": store their values in 0 to 255" if not blank[0].depth and low < high < FLAT * 8 else ""


def _words(values: ValueRange) -> str:
    return f"{values[0]:g} to {values[1]:g}"
