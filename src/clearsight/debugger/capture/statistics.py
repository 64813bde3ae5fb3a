"""Statistics of tensors, many at a time, where they are. T tensors, K statistics, B histogram bins, S sampled elements.

Two steps, since an activation must be read before the next layer overwrites it in place: `read` copies from one tensor
what the statistics need, `tabulate` makes the table of all readings with few kernels. On CUDA neither waits.
Images, as a model gets them, have statistics by channel, and fingerprints. N images, C channels, H x W pixels.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from clearsight.core.tensors import BINS, STATISTICS

SAMPLE = 2048  # elements of a tensor for quantiles and histogram: 20 lie beyond q01, and sorting them is cheap
_CHUNK = 1 << 19  # elements read together on a CPU: 2 MB stay in the cache from one kernel to the next
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


class _Piece(NamedTuple):
    """Sums of a part of a tensor. spread: of squared distances from its mean.  absolute: of the sizes of elements."""

    size: int
    total: float
    spread: float
    absolute: float
    zeros: int
    low: float
    high: float


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
    moments = exact.clone()
    if places := [place for place, reading in enumerate(readings) if reading.by_values]:
        width = max(1, *(len(readings[place].values) for place in places))  # behind it is padding alone
        chosen = torch.tensor(places).to(device, non_blocking=True)
        of_values = _moments(ordered[chosen, :width], finite[chosen, :width], known[chosen], whole[chosen])
        moments[chosen, :-2] = of_values
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


class _Space(threading.local):
    """Memory for intermediate results of one piece: beside a training, new memory costs more than what it is for."""

    def __init__(self) -> None:
        self.sizes, self.zeros = torch.empty(_CHUNK, device="cpu"), np.empty(_CHUNK, np.bool_)


_SPACE = _Space()


def _exact_cpu(flat: Tensor) -> Tensor:
    """Mean to inf of a flat CPU tensor."""
    counted = torch.zeros(_MOMENTS)
    if not len(flat):
        return counted
    pieces = _pieces(flat)
    if any(piece is None for piece in pieces):
        counted = _counted(flat)
        flat = flat[torch.isfinite(flat)]
        if not len(flat):
            return counted
        pieces = _pieces(flat)
    # Plain numbers: arrays of a few pieces would take longer to make than to compute with.
    sizes, sums, spreads, absolutes, zeros, lows, highs = zip(*filter(None, pieces), strict=True)
    count, low, high = len(flat), min(lows), max(highs)
    mean = sum(sums) / count
    # Chan et al. 1983, pairwise update.
    offsets = [total / size - mean for size, total in zip(sizes, sums, strict=True)]
    within = sum(spreads) + sum(size * offset * offset for size, offset in zip(sizes, offsets, strict=True))
    std = 0.0 if low == high else math.sqrt(within / count)
    l2 = math.sqrt(within + count * mean * mean)
    counted[:-2] = torch.tensor([mean, std, low, high, sum(absolutes) / count, l2, sum(zeros) / count])
    return counted


def _pieces(flat: Tensor) -> list[_Piece | None]:
    return [_piece(piece) for piece in torch.split(flat, _CHUNK)]


def _piece(values: Tensor) -> _Piece | None:
    """Return the sums of a part of a tensor, None where it has elements that are not finite."""
    values = values.float() if values.dtype.itemsize < 4 else values
    low, high = (bound.item() for bound in torch.aminmax(values))
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    if max(abs(low), abs(high)) > 1e15:  # squares and sums of such would overflow
        wide = values.double()
        total, mean, absolute = wide.sum().item(), wide.mean().item(), wide.abs().sum().item()
        zeros = int((wide == 0).sum())
        return _Piece(len(values), total, (wide - mean).square().sum().item(), absolute, zeros, low, high)
    total = values.sum().item()
    absolute, zeros = _sizes(values, total, low, high)
    mean = total / len(values)
    if abs(mean) > 0.5 * (high - low):  # far from 0: squares first and the mean's off later would cancel
        values, mean = values - mean, 0.0
    array = values.numpy()  # its products take half the time of torch's
    spread = max(0.0, float(array.dot(array)) - len(values) * mean * mean)
    return _Piece(len(values), total, spread, absolute, zeros, low, high)


def _sizes(values: Tensor, total: float, low: float, high: float) -> tuple[float, int]:
    """Return the sum of the sizes of elements, and how many are 0. total, low, high: sum, min and max of them."""
    absolute, closest = (total, low) if low >= 0 else (-total, -high)
    if low < 0 < high:
        space = _SPACE.sizes[: len(values)] if values.dtype == torch.float32 else torch.empty_like(values)
        sizes = torch.abs(values, out=space)
        absolute, closest = sizes.sum().item(), sizes.amin().item()
    if closest > 0:
        return absolute, 0
    # Several times as fast in numpy as in torch.
    return absolute, int(np.count_nonzero(np.equal(values.numpy(), 0, out=_SPACE.zeros[: len(values)])))


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
