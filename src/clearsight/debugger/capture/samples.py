"""Samples of what the model gets and computes: statistics and thumbnails of images, and features before the last layer.

Rules compare training with validation by them, and ask how well a linear model on the features would do.
N images of a batch, C channels, D features.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

import torch
from torch import Tensor, nn

from clearsight.core.tensors import Mode, Moment
from clearsight.debugger.capture.model_inspection import InspectedModel, kind
from clearsight.debugger.capture.transfer import RecordSender

IMAGE_STATISTICS = "image_statistics"  # name of the saved tensor, one row per sampled image
FEATURES = "features"  # name of the saved tensor, one row per sampled image
THUMBNAILS = "thumbnails"  # name of the saved tensor, one row per image of the first steps and evaluations

_BATCHES = 64  # of a mode whose images are read: enough for a mean, and a bound on the cost
_FIRST_STEPS = 8  # training steps that are always read; later ones where statistics are due
# Images of a batch that are read. More of the first batches of an evaluation: it reads the same images every time, so a
# small split would never give more than a few.
_IMAGES, _FIRST_IMAGES, _FIRST_BATCHES = 8, 32, 8

_ROWS = 256  # feature vectors of a sample: enough for a cross-validated linear model, and 256 KB
_BATCH_ROWS = 64  # of a batch: several batches make a sample
_WIDTH = 256  # features of a saved vector; longer ones are sketched
_SIDE = 12  # pixels of a thumbnail: a quarter of it has 6, and a shift by an eighth of the image is seen
_EVALUATIONS, _ENOUGH = 3, 128  # evaluations that are sampled until one had so many images: the first may be a trial


class ImageSampler:
    """Sends statistics of a few images of the first batches of each mode, and through `thumbnails` what they show."""

    def __init__(self, sender: RecordSender) -> None:
        self.thumbnails = ThumbnailSampler(sender)
        self._sender, self._count = sender, dict[Mode, int]()

    def read(self, at: Moment, images: Tensor, *, due: bool) -> None:
        """Read a batch (N, C, H, W). due: True where statistics of the step are saved anyway."""
        count = self._count.get(at.mode, 0)
        if count >= _BATCHES or not (due or at.mode == "eval" or at.step <= _FIRST_STEPS):
            return
        self._count[at.mode] = count + 1
        most = _FIRST_IMAGES if at.mode == "eval" and count < _FIRST_BATCHES else _IMAGES
        # Evenly over the batch: a validation split may be sorted by class.
        self._sender.tensor(at, "inputs", IMAGE_STATISTICS, image_statistics(images[:: -(-len(images) // most)]))


@torch.no_grad()
def image_statistics(images: Tensor) -> Tensor:
    """Return (N, K) float32: of each image C means, C standard deviations, the correlations of the pairs of channels,
    sharpness (mean step to the next pixel over the standard deviation), reread, height and width.

    reread: step to the next pixel and channel of the same numbers read as (H, W, C), over that of the image as it is.
    """
    pixels = images.detach().float()
    _, channel_count, height, width = pixels.shape
    mean = pixels.mean((2, 3))
    centred = (pixels - mean[:, :, None, None]).flatten(2)
    std = centred.square().mean(2).sqrt()
    products = centred @ centred.transpose(1, 2) / centred.shape[2]
    pairs = list(combinations(range(channel_count), 2))
    scale = std.clamp_min(1e-12)
    correlations = [products[:, a, b] / (scale[:, a] * scale[:, b]) for a, b in pairs]
    steps = (pixels[..., 1:] - pixels[..., :-1]).abs().mean((2, 3)) if width > 1 else torch.zeros_like(mean)
    sharpness = (steps / scale).mean(1)
    size = [torch.full_like(sharpness, float(side)) for side in (height, width)]
    reread = pixels.reshape(-1, height, width, channel_count).permute(0, 3, 1, 2)
    ratio = _steps(reread) / _steps(pixels).clamp_min(1e-12)
    return torch.cat([mean, std, torch.stack([*correlations, sharpness, ratio, *size], 1)], 1)


def _steps(pixels: Tensor) -> Tensor:
    """Return the mean step of (N, C, H, W) to the next channel and pixel, each channel around its mean, (N,)."""
    centred, steps = pixels - pixels.mean((2, 3), keepdim=True), torch.zeros(len(pixels), device=pixels.device)
    for axis in (1, 2, 3):
        if pixels.shape[axis] > 1:
            steps = steps + centred.diff(dim=axis).abs().mean((1, 2, 3))
    return steps


@dataclass
class _Window:
    """Vectors of a mode. at: of the last one.  stride: between the vectors that are kept.  sent: True if saved."""

    rows: deque[tuple[Tensor, Tensor, Tensor]] = field(default_factory=deque)
    at: Moment | None = None
    size: int = 0
    stride: int = 1
    sent: bool = True
    closed: bool = False


class FeatureSampler:
    """Keeps up to 256 feature vectors of the latest training steps and of the latest evaluation, with labels.

    They are saved at the beginning of the training, whenever it has become twice as long, and at its end. A saved row
    holds up to 256 features, the label and the prediction. Until it is saved a vector is a reference to what the model
    computed: nothing is copied in a step.
    """

    def __init__(self, sender: RecordSender) -> None:
        self._sender = sender
        self._features: Tensor | None = None  # of the forward pass under way
        self._windows: dict[Mode, _Window] = {"train": _Window(), "eval": _Window()}
        self._saved_step: dict[Mode, int] = {}

    def receive(self, features: Tensor) -> None:
        """Receive the input of the last layer, (N, D), (N, ..., D) of a linear layer or (N, D, H, W)."""
        self._features = features.detach()

    def begin(self) -> None:
        """Begin a forward pass; forget one whose labels never came."""
        self._features = None

    def add(self, at: Moment, labels: Tensor, predictions: Tensor) -> None:
        """Add the features of the forward pass under way with labels and predictions, (N,) int64 each."""
        features, self._features = self._features, None
        if features is None or len(features) != len(labels) or at.mode not in self._windows:
            return
        window = self._windows[at.mode]
        if window.closed:
            window = self._windows[at.mode] = _Window()
        # Training batches are in random order; an evaluation may be sorted, and is sampled evenly.
        limit = -(-len(labels) // _BATCH_ROWS) if at.mode == "train" else 1
        part = slice(None, None, max(limit, window.stride))
        window.rows.append((features[part], labels[part], predictions[part]))
        window.at, window.sent, window.size = at, False, window.size + len(labels[part])
        if at.mode == "eval":
            self._thin(window)
        elif "train" not in self._saved_step and window.size >= _ROWS:
            self._send("train")
        else:
            while window.size - len(window.rows[0][1]) >= _ROWS:
                window.size -= len(window.rows.popleft()[1])

    def end_phase(self, mode: Mode) -> None:
        """End the training steps before an evaluation, or an evaluation; the next vector begins another sample."""
        window = self._windows.get(mode)
        if window is None or window.at is None or window.closed:
            return
        window.closed = True
        if window.at.train_step >= 2 * self._saved_step.get(mode, 0):
            self._send(mode)

    def finish(self) -> None:
        """Save what is not saved yet."""
        for mode in self._windows:
            self._send(mode)

    def _send(self, mode: Mode) -> None:
        window = self._windows[mode]
        if window.sent or window.at is None:
            return
        window.sent, self._saved_step[mode] = True, window.at.train_step
        with torch.no_grad():
            device = window.rows[-1][0].device
            rows = [
                torch.cat([sketched(f), y[:, None].to(f.device), p[:, None].to(f.device)], 1).to(device)
                for f, y, p in window.rows
            ]
            self._sender.tensor(window.at, "outputs", FEATURES, torch.cat(rows)[-_ROWS:])

    @staticmethod
    def _thin(window: _Window) -> None:
        while window.size > _ROWS:
            window.stride *= 2
            window.rows = deque((f[::2], y[::2], p[::2]) for f, y, p in window.rows)
            # Batches that hold a single vector are dropped one by one instead.
            if len(window.rows) > _ROWS // 2:
                window.rows = deque(list(window.rows)[::2])
            window.size = sum(len(y) for _, y, _ in window.rows)


@dataclass
class _Pass:
    """Thumbnails of a pass that are kept: images `start`, `start + stride`, ... of its `count`.

    rows: (K, C * 12 * 12).  offset: images of the evaluation before it.  labels, predictions: (N,), None if not known.
    """

    rows: Tensor
    offset: int
    count: int
    start: int
    stride: int = 1
    labels: Tensor | None = None
    predictions: Tensor | None = None

    def thin(self) -> None:
        """Leave the images whose number in the evaluation is a multiple of twice the stride."""
        skipped = (self.offset + self.start) // self.stride % 2
        self.rows, self.start = self.rows[skipped::2], self.start + skipped * self.stride
        self.stride *= 2

    def columns(self) -> Tensor:
        """Return thumbnails, labels and predictions, (K, C * 12 * 12 + 2); NaN for what is not known."""
        if self.labels is None or self.predictions is None:
            unknown = self.rows.new_full((len(self.rows), 1), float("nan"))
            return torch.cat([self.rows, unknown, unknown], 1)
        part = slice(self.start, None, self.stride)
        known = (self.labels[part, None], self.predictions[part, None])
        return torch.cat([self.rows, *(column.to(self.rows) for column in known)], 1)


class ThumbnailSampler:
    """Sends thumbnails of the first 256 training images, and of up to 256 images over the whole first evaluation.

    A saved row holds 12 x 12 means of each channel, the label and the prediction; both are NaN where nobody has told
    them. They are asked for only after the pass, and for an evaluation perhaps once, for all of its outputs together.
    """

    def __init__(self, sender: RecordSender) -> None:
        self._sender = sender
        self._passes: dict[Mode, list[_Pass]] = {"train": [], "eval": []}
        self._at: dict[Mode, Moment] = {}
        self._evaluations, self._stride, self._seen = 0, 1, 0  # _seen: images of the evaluation under way
        self._open: dict[Mode, bool] = {"train": True, "eval": True}  # False once enough was saved

    @torch.no_grad()
    def begin(self, at: Moment, images: Tensor | None) -> None:
        """Begin a forward pass of images (N, C, H, W)."""
        if not self._open.get(at.mode, False):
            return
        if at.mode == "train" and sum(len(part.rows) for part in self._passes["train"]) >= _ROWS:
            self._send("train")
            return
        if images is None:
            return
        if (passes := self._passes[at.mode]) and images.shape[1] * _SIDE**2 != passes[0].rows.shape[1]:
            return
        self._at[at.mode] = at
        if at.mode == "train":
            passes.append(_Pass(thumbnails(images), 0, len(images), 0))
            return
        start = -self._seen % self._stride
        rows = thumbnails(images[start :: self._stride])
        passes.append(_Pass(rows, self._seen, len(images), start, self._stride))
        self._seen += len(images)
        while sum(len(part.rows) for part in passes) > _ROWS:
            self._stride *= 2
            for part in passes:
                part.thin()

    def add(self, mode: Mode, labels: Tensor, predictions: Tensor) -> None:
        """Add labels and predictions, (N,) each, of the last pass, or of all passes without labels together."""
        passes = self._passes.get(mode)
        if not passes or not self._open[mode]:
            return
        unknown = [part for part in passes if part.labels is None]
        if passes[-1].count == len(labels):
            passes[-1].labels, passes[-1].predictions = labels, predictions
        elif sum(part.count for part in unknown) == len(labels):
            sizes = [part.count for part in unknown]
            split = zip(unknown, torch.split(labels, sizes), torch.split(predictions, sizes), strict=True)
            for part, own, predicted in split:
                part.labels, part.predictions = own, predicted

    def end_phase(self, mode: Mode) -> None:
        """End an evaluation: send its thumbnails, and look at no other one if they are enough."""
        if mode != "eval" or not self._passes["eval"] or not self._open["eval"]:
            return
        enough = self._seen >= _ENOUGH
        self._evaluations += 1
        self._send("eval", last=enough or self._evaluations >= _EVALUATIONS)
        self._stride, self._seen = 1, 0

    def finish(self) -> None:
        """Send what is not sent yet."""
        self.end_phase("eval")
        if self._open["train"]:
            self._send("train")

    def _send(self, mode: Mode, *, last: bool = True) -> None:
        passes, self._passes[mode] = self._passes[mode], []
        if not passes:
            return
        self._open[mode] = not last
        with torch.no_grad():
            rows = torch.cat([part.columns() for part in passes])[:_ROWS]
        self._sender.tensor(self._at[mode], "inputs", THUMBNAILS, rows)


def thumbnails(images: Tensor) -> Tensor:
    """Return (N, C * 12 * 12) float32 of images (N, C, H, W)."""
    return nn.functional.adaptive_avg_pool2d(images.detach().float(), _SIDE).flatten(1)


def sketched(features: Tensor) -> Tensor:
    """Return (N, <= 256) float32: the features themselves, or sums of groups of them with fixed signs.

    Such sums keep distances and angles in expectation. Source: Charikar et al. 2002, "Finding frequent items".
    """
    if features.dim() == 4:
        features = features.mean((2, 3))
    elif features.dim() > 2:
        features = features.mean(tuple(range(1, features.dim() - 1)))
    features = features.float()
    count, width = features.shape
    if width <= _WIDTH:
        return features
    places = torch.arange(width, device=features.device)
    signs = ((places * 2654435761) >> 16) % 2 * 2 - 1
    padded = nn.functional.pad(features * signs, (0, -width % _WIDTH))
    return padded.view(count, -1, _WIDTH).sum(1)


def last_layer(model: InspectedModel) -> nn.Module | None:
    """Return the layer that makes the logits: the last linear layer in the order of the model, else the last
    convolution; None where no layer can be hooked.
    """
    by_kind: Mapping[str, nn.Module] = {kind(layer): layer for _, layer in model.layers}
    return by_kind.get("linear") or by_kind.get("conv")
