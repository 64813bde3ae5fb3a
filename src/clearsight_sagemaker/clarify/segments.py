"""Segments of an image: SLIC superpixels. H, W: height and width of the image. K: number of segments.

Source: Achanta et al. 2012, "SLIC Superpixels Compared to State-of-the-Art Superpixel Methods".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

_SIDE = 256  # pixels of the longer side that segments are computed on
_ROUNDS = 10
_BLUR = 1.0  # pixels, of a Gaussian: single pixels of a texture make no segments
# Smallest areas of segments, in average segments: of the largest piece of a cluster, and of its other pieces.
_LARGEST_PIECE, _OTHER_PIECE = 0.1, 0.5
# From linear RGB of sRGB to XYZ, for the white of D65.
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def segment_image(image: npt.NDArray[np.uint8], count: int, compactness: float) -> npt.NDArray[np.intp]:
    """Return the number of the segment of each pixel, (H, W), from 0 to K - 1; every segment is connected.

    image: (H, W, 3) uint8.  count: about so many segments.  compactness: weight of place against colour; a large one
    gives squares. Colours are compared in CIELAB.
    """
    height, width = image.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    small_height, small_width = max(1, round(height * scale)), max(1, round(width * scale))
    small = np.asarray(Image.fromarray(image).resize((small_width, small_height), Image.Resampling.BILINEAR))
    labels = _connected(_cluster(_blurred(_lab(small)), count, compactness), count)
    rows = np.arange(height) * small_height // height
    columns = np.arange(width) * small_width // width
    full: npt.NDArray[np.intp] = labels[rows[:, None], columns[None, :]]
    return full


def _blurred(lab: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    blurred: npt.NDArray[np.float64] = ndimage.gaussian_filter(lab, (_BLUR, _BLUR, 0))
    return blurred


def _lab(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return the colours in CIELAB. image: (H, W, 3) sRGB."""
    values = image / 255.0
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    xyz = linear @ (_TO_XYZ / _TO_XYZ.sum(axis=1, keepdims=True)).T
    roots = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = roots[..., 0], roots[..., 1], roots[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _cluster(lab: npt.NDArray[np.float64], count: int, compactness: float) -> npt.NDArray[np.intp]:
    """Return the cluster of each pixel: k-means in which a centre competes for the pixels near it alone."""
    height, width = lab.shape[:2]
    step = max(1.0, (height * width / count) ** 0.5)
    row_count = max(1, round(height / step))
    rows, columns = _grid(height, row_count), _grid(width, max(1, round(count / row_count)))
    centres = [np.array([row, column, *lab[int(row), int(column)]]) for row in rows for column in columns]
    labels = np.zeros((height, width), dtype=np.intp)
    place_weight = (compactness / step) ** 2
    for _ in range(_ROUNDS):
        nearest = np.full((height, width), np.inf)
        for number, centre in enumerate(centres):
            row, column = centre[:2]
            top, left = max(0, int(row - 2 * step)), max(0, int(column - 2 * step))
            window = (slice(top, int(row + 2 * step) + 1), slice(left, int(column + 2 * step) + 1))
            part = lab[window]
            row_gaps = (np.arange(top, top + part.shape[0]) - row) ** 2
            column_gaps = (np.arange(left, left + part.shape[1]) - column) ** 2
            distance = ((part - centre[2:]) ** 2).sum(axis=-1)
            distance += place_weight * (row_gaps[:, None] + column_gaps[None, :])
            closer = distance < nearest[window]
            nearest[window][closer] = distance[closer]
            labels[window][closer] = number
        centres = _means(lab, labels, centres)
    return labels


def _grid(size: int, parts: int) -> npt.NDArray[np.float64]:
    return (np.arange(parts) + 0.5) * size / parts


def _means(
    lab: npt.NDArray[np.float64], labels: npt.NDArray[np.intp], centres: list[npt.NDArray[np.float64]]
) -> list[npt.NDArray[np.float64]]:
    """Return the mean place and colour of each cluster; a cluster without pixels stays where it is."""
    flat = labels.ravel()
    sizes = np.bincount(flat, minlength=len(centres))
    rows, columns = np.indices(labels.shape)
    features = [rows, columns, *np.moveaxis(lab, -1, 0)]
    sums = [np.bincount(flat, weights=feature.ravel(), minlength=len(centres)) for feature in features]
    means = np.stack(sums, axis=1) / np.maximum(sizes, 1)[:, None]
    return [means[number] if sizes[number] else centre for number, centre in enumerate(centres)]


def _connected(labels: npt.NDArray[np.intp], count: int) -> npt.NDArray[np.intp]:
    """Return segments that are connected: pieces of clusters, of which small ones join the nearest other."""
    average = labels.size / count
    pieces = np.zeros_like(labels)
    large = [False]  # pieces are numbered from 1
    for label in np.unique(labels):
        found, number = ndimage.label(labels == label)
        pieces += np.where(found > 0, found + len(large) - 1, 0)
        sizes = np.bincount(found.ravel(), minlength=number + 1)[1:]
        large += [
            size >= average * (_LARGEST_PIECE if place == sizes.argmax() else _OTHER_PIECE)
            for place, size in enumerate(sizes)
        ]
    if not any(large):
        large[int(np.bincount(pieces.ravel()).argmax())] = True
    is_small = ~np.array(large)[pieces]
    if is_small.any():
        nearest = ndimage.distance_transform_edt(is_small, return_distances=False, return_indices=True)
        pieces = pieces[tuple(nearest)]
    return np.unique(pieces, return_inverse=True)[1].reshape(labels.shape)
