"""Statistics of tensors, many at a time, where they are. T tensors, K statistics, B histogram bins, S sampled elements.

Two steps, since an activation must be read before the next layer overwrites it in place: `read` copies from one tensor
what the statistics need, `tabulate` makes the table of all readings with few kernels. On CUDA neither waits.
Images, as a model gets them, have statistics by channel, and fingerprints. N images, C channels, H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clearsight.core.tensors import BINS, STATISTICS

SAMPLE = 2048  # elements of a tensor for quantiles and histogram: 20 lie beyond q01, and sorting them is cheap
_CHUNK = 1 << 20  # elements read together on a CPU: 4 MB stay in the cache from one kernel to the next
_QUANTILES = tuple(int(name[1:]) / 100 for name in STATISTICS if name[0] == "q")
_MOMENTS = STATISTICS.index("q01") - 1  # mean to inf: what comes after the count and before the quantiles

_MOST_CHANNELS = 4  # grey, RGB, RGBA: more channels are feature maps, not images
_HASHED = 256  # elements of an image that make its fingerprint: different photographs differ in nearly all of them
_SPREAD = 0x9E3779B97F4A7C  # bits of the golden ratio: neighbouring places get unlike factors


class Reading(NamedTuple):
    """Reading of a tensor: its size, up to S of its elements, and its exact statistics.

    values: (<= S,) float32, a copy.  exact: (9,) float32, mean to inf in the order of STATISTICS; where `by_values`,
    only the last two (NaN, infinite) of it count, and the rest follows from `values`, which are a sample or everything.
    """

    size: int
    values: Tensor
    exact: Tensor
    by_values: bool


class Summary(NamedTuple):
    """table: (T, K) float32 in the order of STATISTICS.  histograms: (T, B) float32 that sum to the finite elements."""

    table: Tensor
    histograms: Tensor


@torch.no_grad()
def read(tensor: Tensor, sample: int | None = None) -> Reading:
    """Return the reading of one tensor, of any floating type, memory layout and size.

    NaN and infinite elements are counted; every other statistic is of the finite ones (0 where there are none), `std`
    that of the population.
    sample: None reads every element; only quantiles and histogram are estimates from 2048 evenly strided elements. Of a
    tensor with more than `sample` elements only that many are read: then all statistics are estimates, `l2` scaled to
    the whole tensor, except `count`, `nan` and `inf`. The estimates of min and max lie inside the true range.
    """
    flat = flattened(tensor.detach())
    values = thinned(flat, tensor.shape, sample or SAMPLE).to(torch.float32, copy=True)
    # Of a small tensor `values` are all there are: `tabulate` computes from those of many tensors at once.
    by_values = len(flat) == len(values) or (sample is not None and len(flat) > sample)
    exact = _counted if by_values else _exact_cpu if flat.device.type == "cpu" else _exact_masked
    return Reading(len(flat), values, exact(flat), by_values)


@torch.no_grad()
def read_sample(values: Tensor, count: int) -> Reading:
    """Return the reading of a tensor with `count` elements by a sample of any shape, which belongs to the reading."""
    values = values.detach().reshape(-1).float()
    return Reading(count, values, _counted(values), True)


def stride(count: int, shape: Sequence[int], sample: int) -> int:
    """Return the distance between sampled elements: prime to every dimension of the tensor."""
    # A stride that shares a factor with the width of a row visits the same columns in every row.
    step = max(1, -(-count // sample))
    while step > 1 and any(math.gcd(step, size) > 1 for size in shape if size > 1):
        step += 1
    return step


def thinned(flat: Tensor, shape: Sequence[int], sample: int) -> Tensor:
    """Return up to `sample` evenly strided elements of a flat tensor, a view."""
    return flat if len(flat) <= sample else flat[:: stride(len(flat), shape, sample)]


@torch.no_grad()
def tabulate(readings: Sequence[Reading]) -> Summary:
    """Return the table of readings of one device, on that device."""
    if not readings:
        return Summary(torch.zeros(0, len(STATISTICS)), torch.zeros(0, BINS))
    device = readings[0].values.device
    sizes = torch.tensor([len(reading.values) for reading in readings])
    width = max(1, int(sizes.max()))
    rows = torch.full((len(readings), width), torch.inf, device=device)
    for row, reading in zip(rows, readings, strict=True):
        row[: len(reading.values)] = reading.values
    # Whatever is not finite becomes +inf and so goes behind the finite elements, with the padding.
    rows.nan_to_num_(nan=torch.inf, posinf=torch.inf, neginf=torch.inf)
    ordered = _sorted(rows)
    finite = torch.isfinite(ordered)
    known = finite.sum(1)
    exact = torch.stack([reading.exact for reading in readings])
    counts = torch.tensor([float(reading.size) for reading in readings]).to(device, non_blocking=True)
    whole = (counts - exact[:, -2:].sum(1)).clamp_min(0)  # finite elements
    estimated = torch.cat([_moments(ordered, finite, known, whole), exact[:, -2:]], 1)
    by_values = torch.tensor([reading.by_values for reading in readings]).to(device, non_blocking=True)
    moments = torch.where(by_values[:, None], estimated, exact)
    table = torch.cat([counts[:, None], moments, _quantiles(ordered, known)], 1)
    low, high = (table[:, STATISTICS.index(name)] for name in ("min", "max"))
    return Summary(table.float(), _histograms(ordered, known, low, high) * (whole / known.clamp_min(1))[:, None])


def flattened(tensor: Tensor) -> Tensor:
    """Return all elements in one dimension, in any order, without a copy where memory has no holes."""
    if tensor.layout is not torch.strided:
        tensor = tensor.coalesce().values() if tensor.layout is torch.sparse_coo else tensor.to_dense()
    if tensor.is_contiguous():
        return tensor.view(-1)
    for layout, dimensions in ((torch.channels_last, 4), (torch.channels_last_3d, 5)):
        if tensor.dim() == dimensions and tensor.is_contiguous(memory_format=layout):
            return tensor.as_strided((tensor.numel(),), (1,))
    return tensor.reshape(-1)


def _counted(flat: Tensor) -> Tensor:
    """(9,) zeros, and at their end the numbers of NaN and of infinite elements."""
    counts = torch.zeros(_MOMENTS, device=flat.device)
    # On a CPU a sum reads every element at the speed of memory. Where it overflows although all are finite, counting is
    # slower and not wrong.
    if flat.device.type != "cpu" or not math.isfinite(flat.sum(dtype=torch.float32).item()):
        counts[-2], counts[-1] = torch.isnan(flat).sum(), torch.isinf(flat).sum()
    return counts


def _exact_cpu(flat: Tensor) -> Tensor:
    """Mean to inf of a flat CPU tensor."""
    counted = torch.zeros(_MOMENTS)
    if not len(flat):
        return counted
    pieces = _pieces(flat)
    if not np.isfinite(pieces).all():
        counted = _counted(flat)
        flat = flat[torch.isfinite(flat)]
        if not len(flat):
            return counted
        pieces = _pieces(flat)
    sizes, sums, spreads, absolutes, zeros, lows, highs = pieces.T
    count, mean, low, high = sizes.sum(), sums.sum() / sizes.sum(), lows.min(), highs.max()
    within = spreads.sum() + (sizes * (sums / sizes - mean) ** 2).sum()  # Chan et al. 1983, pairwise update
    std = 0.0 if low == high else math.sqrt(within / count)
    l2 = math.sqrt(within + count * mean * mean)
    counted[:-2] = torch.tensor([mean, std, low, high, absolutes.sum() / count, l2, zeros.sum() / count])
    return counted


def _pieces(flat: Tensor) -> npt.NDArray[np.float64]:
    """(P, 7), a row as of `_piece` for each part of the tensor."""
    return np.array([_piece(piece) for piece in torch.split(flat, _CHUNK)])


def _piece(values: Tensor) -> list[float]:
    """Of a piece: size, sum, squared distances from its mean, sum of sizes, zeros, min and max."""
    values = values.float() if values.dtype.itemsize < 4 else values
    low, high = (bound.item() for bound in torch.aminmax(values))
    total = values.sum().item()
    absolute = total if low >= 0 else -total if high <= 0 else values.abs().sum().item()
    # Several times as fast in numpy as in torch.
    zeros = 0 if low > 0 or high < 0 else int(np.count_nonzero(values.numpy() == 0))
    mean = total / len(values)
    if max(abs(low), abs(high)) > 1e15:  # squares and sums of such would overflow
        wide = values.double()
        total, mean, absolute = wide.sum().item(), wide.mean().item(), wide.abs().sum().item()
        return [len(values), total, (wide - mean).square().sum().item(), absolute, zeros, low, high]
    if abs(mean) > 0.5 * (high - low):  # far from 0: squares first and the mean's off later would cancel
        values, mean = values - mean, 0.0
    squares = torch.dot(values, values).item()
    return [len(values), total, max(0.0, squares - len(values) * mean**2), absolute, zeros, low, high]


def _exact_masked(flat: Tensor) -> Tensor:
    """Mean to inf of a flat tensor, without a look at any value: nothing waits."""
    flat = flat.float() if flat.dtype.itemsize < 4 else flat
    counted = _counted(flat)
    if not len(flat):
        return counted
    finite = torch.isfinite(flat)
    clean = torch.where(finite, flat, 0)
    count = finite.sum().clamp_min(1).double()
    mean = clean.sum(dtype=torch.float64) / count
    centred = torch.where(finite, flat - mean.to(flat.dtype), 0)
    counted[0] = mean
    counted[1] = torch.linalg.vector_norm(centred, dtype=torch.float64) / count.sqrt()
    any_finite = finite.any()
    counted[2] = torch.where(any_finite, torch.where(finite, flat, torch.inf).min(), 0)
    counted[3] = torch.where(any_finite, torch.where(finite, flat, -torch.inf).max(), 0)
    counted[4] = torch.linalg.vector_norm(clean, 1, dtype=torch.float64) / count
    counted[5] = torch.linalg.vector_norm(clean, dtype=torch.float64)
    counted[6] = (flat == 0).sum() / count
    return counted


def _sorted(rows: Tensor) -> Tensor:
    if rows.device.type != "cpu":
        return rows.sort(1).values
    rows.numpy().sort(axis=1)  # several times as fast as torch's on a CPU
    return rows


def _moments(ordered: Tensor, finite: Tensor, known: Tensor, whole: Tensor) -> Tensor:
    """(T, 7) mean to zero_fraction of sorted rows of which the first `known` elements count."""
    clean = torch.where(finite, ordered, 0).double()
    divisor = known.clamp_min(1)
    mean = clean.sum(1) / divisor
    centred = torch.where(finite, clean - mean[:, None], 0)
    l2 = (clean.square().mean(1) * clean.shape[1] / divisor * whole).sqrt()
    low = torch.where(known > 0, clean[:, 0], 0)
    high = clean.gather(1, (known - 1).clamp_min(0)[:, None])[:, 0]
    std = torch.where(low == high, 0, (centred.square().sum(1) / divisor).sqrt())
    zeros = (finite & (ordered == 0)).sum(1) / divisor
    return torch.stack([mean, std, low, high, clean.abs().sum(1) / divisor, l2, zeros], 1).float()


def _quantiles(ordered: Tensor, known: Tensor) -> Tensor:
    """(T, 7) by linear interpolation between the sorted elements."""
    places = torch.tensor(_QUANTILES).to(ordered.device, non_blocking=True) * (known - 1).clamp_min(0)[:, None]
    below = places.floor().long()
    above = torch.minimum(below + 1, (known - 1).clamp_min(0)[:, None])
    share = places - below
    lower, upper = ordered.gather(1, below), ordered.gather(1, above)
    return torch.where(known[:, None] > 0, lower * (1 - share) + upper * share, 0)


def _histograms(ordered: Tensor, known: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """(T, B) counts of the sorted elements between the edges; a tensor of one value has them all in the first bin."""
    steps = torch.arange(1, BINS, device=ordered.device) / BINS
    inner = low[:, None] * (1 - steps) + high[:, None] * steps
    below = torch.searchsorted(ordered, inner.to(ordered.dtype).contiguous(), right=False)
    below = torch.where((low == high)[:, None], known[:, None], torch.minimum(below, known[:, None]))
    edges = torch.cat([torch.zeros_like(known)[:, None], below, known[:, None]], 1)
    return edges.diff(dim=1).float()


def are_images(tensor: Tensor) -> bool:
    """Return True for a tensor (N, C <= 4, H, W) with elements."""
    return tensor.dim() == 4 and 1 <= tensor.shape[1] <= _MOST_CHANNELS and tensor.numel() > 0


@torch.no_grad()
def channels(tensor: Tensor) -> Tensor:
    """Return (C, 4) float32: mean, standard deviation (of the population), min and max of each channel of the batch."""
    # In float32: sums of a batch of half-precision pixels would overflow.
    pixels = tensor.detach().float().transpose(0, 1).flatten(1)
    mean = pixels.mean(1)
    # In a fifth of the time of torch.std_mean on a CPU.
    std = torch.linalg.vector_norm(pixels - mean[:, None], dim=1) / math.sqrt(pixels.shape[1])
    return torch.stack([mean, std, pixels.amin(1), pixels.amax(1)], 1)


@torch.no_grad()
def fingerprints(tensor: Tensor) -> Tensor:
    """Return (N,) int64: equal for images of equal elements, and for others equal only by chance.

    They show which images come again, and whether they come unchanged, without keeping any image. A sum of the bits
    of about 256 elements spread over the image, each times an odd number that depends on its place, modulo 2^64.
    Integer sums are exact on any device, whatever their order.
    """
    flat = tensor.detach().float().flatten(1)
    step = max(1, flat.shape[1] // _HASHED) | 1  # odd, so that it visits all columns of an image
    bits = flat[:, ::step].contiguous().view(torch.int32).long()
    return (bits * _factors(bits.shape[1], bits.device)).sum(1)


@cache
def _factors(count: int, device: torch.device) -> Tensor:
    return torch.arange(count, device=device) * _SPREAD + 1 | 1  # odd ones lose no bit of their element
