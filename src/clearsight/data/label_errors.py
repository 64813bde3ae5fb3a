"""Wrong labels and near copies by frozen features, without training a network. N images, F features, C classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import BadShape
from clearsight.core.label_check import LabelCheck, Suspect

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FOLDS = 4
_PENALTY = 3.0  # on features whose rows have a squared length of about 1; 1 to 30 give the same verdicts
_BLOCK = 1024  # rows compared at once
_CLOSEST = 0.01  # quantile of the distances within the training set that a copy is nearer than


def pooled(features: npt.NDArray[Any]) -> Floats:
    """Return (N, F) of features (N, F), of maps (N, F, H, W) or of tokens (N, T, F): means over places."""
    values = np.asarray(features, np.float64)
    if values.ndim == 4:
        return cast(Floats, values.mean((2, 3)))
    return cast(Floats, values.mean(1)) if values.ndim == 3 else values.reshape(len(values), -1)


def stratified_folds(labels: Ints, folds: int = FOLDS) -> Ints:
    """Return the fold (N,) of each image, in [0, folds): of every class each fold has equally many, give or take one.

    The same labels give the same folds. Neighbours in a dataset are often alike, so each class is shuffled first.
    """
    rng, fold, first = np.random.default_rng(0), np.empty(len(labels), np.int64), 0
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        fold[rows] = (np.arange(len(rows)) + first) % folds
        first += len(rows)
    return fold


def ridge_scores(train: Floats, targets: Floats, others: Floats, penalty: float) -> Floats:
    """Return the scores (M, C) of `others` (M, F) by ridge regression with an intercept on `train` (N, F).

    targets: (N, C).  It is the closed form, in the smaller of N and F unknowns. Raises BadShape where sizes differ.
    """
    if len(train) != len(targets) or train.shape[1] != others.shape[1]:
        raise BadShape("ridge", f"{train.shape}, {targets.shape} and {others.shape} do not fit")
    centre, mean = train.mean(0), targets.mean(0)
    x, y, z = train - centre, targets - mean, others - centre
    if len(x) <= x.shape[1]:
        return cast(Floats, z @ (x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(len(x)), y)) + mean)
    return cast(Floats, z @ np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y) + mean)


def held_out_scores(features: Floats, labels: Ints, classes: int) -> Floats:
    """Return the scores (N, C) of each image by a ridge classifier of the other folds; rows sum to 1."""
    fold, targets = stratified_folds(labels), np.eye(classes)[labels]
    scores = np.zeros((len(labels), classes))
    for number in range(FOLDS):
        rows, rest = fold == number, fold != number
        if not rows.any():
            continue
        scale = (features[rest].std(0) + 1e-6) * np.sqrt(features.shape[1])
        scores[rows] = ridge_scores(features[rest] / scale, targets[rest], features[rows] / scale, _PENALTY)
    return scores


def check_labels_by_features(
    features: npt.NDArray[Any], labels: Ints, paths: Sequence[str], classes: Sequence[str]
) -> LabelCheck | None:
    """Return what features say about labels; None where fewer than two classes have an image for each fold.

    features: (N, ...).  labels: (N,) in [0, C).  paths: N.  Images of classes with fewer than 4 images are left out.
    Raises BadShape where the numbers of images differ.
    """
    if not len(features) == len(labels) == len(paths):
        raise BadShape("labels", f"{len(features)} features, {len(labels)} labels and {len(paths)} paths")
    counts = np.bincount(labels, minlength=len(classes))
    rows = np.flatnonzero(counts[labels] >= FOLDS)
    present, given = np.unique(labels[rows], return_inverse=True)
    if len(present) < 2:
        return None
    scores = held_out_scores(pooled(features[rows]), given, len(present))
    predicted = scores.argmax(1)
    wrong, order = predicted != given, np.argsort(-scores.max(1), kind="stable")
    third = order[: max(1, len(order) // 3)]
    suspects = [
        Suspect(
            path=paths[rows[row]],
            given=classes[present[given[row]]],
            likely=classes[present[likely]],
            margin=round(float(margin), 4),
        )
        for row, likely, margin in confident_errors(scores, given)
    ]
    return LabelCheck(
        images=len(rows),
        classes=len(present),
        accuracy=float(1 - wrong.mean()),
        surest=len(third),
        contradicted=int(wrong[third].sum()),
        unexplained=_unexplained(scores, given, wrong, order[: max(1, len(order) // 2)]),
        suspects=tuple(suspects),
    )


def _unexplained(scores: Floats, labels: Ints, wrong: npt.NDArray[np.bool_], surer: Ints) -> float:
    """Return twice the share of `surer` whose label is contradicted and in the lower half of the other classes."""
    if scores.shape[1] == 2:
        return 0.0
    given = scores[np.arange(len(labels)), labels]
    below = (scores < given[:, None]).sum(1) / (scores.shape[1] - 2)  # 1 for the second choice, 0 for the last
    return float(min(1.0, 2 * (wrong[surer] & (below[surer] < 0.5)).mean()))


def confident_errors(scores: Floats, labels: Ints) -> list[tuple[int, int, float]]:
    """Return (row, likely class, margin) of the labels that confident learning calls wrong, the worst first.

    scores: (N, C), of classifiers that did not see the label.  An image is of the best class whose score is at least
    the mean score of the images labelled so. margin: score of the label less that of the likely class.
    Source: Northcutt et al. 2021, "Confident Learning", section 3.1, ranked by normalised margin.
    """
    rows = np.arange(len(labels))
    given = scores[rows, labels]
    counts = np.bincount(labels, minlength=scores.shape[1])
    limits = np.bincount(labels, weights=given, minlength=scores.shape[1]) / np.maximum(counts, 1)
    confident = np.where((scores >= limits) & (counts > 0), scores, -np.inf)
    likely = confident.argmax(1)
    margin = given - scores[rows, likely]
    found = np.flatnonzero(np.isfinite(confident.max(1)) & (likely != labels) & (margin < 0))
    return [(int(row), int(likely[row]), float(margin[row])) for row in found[np.argsort(margin[found], kind="stable")]]


@dataclass(frozen=True, kw_only=True, slots=True)
class SimilarPair:
    """A training image and one of a later split with nearly the same features. distance: of cosine, in [0, 2]."""

    paths: tuple[str, str]
    distance: float


def similar_pairs(
    train: npt.NDArray[Any], later: npt.NDArray[Any], train_paths: Sequence[str], later_paths: Sequence[str]
) -> list[SimilarPair]:
    """Return the later images nearer to a training image than training images are to each other, nearest first.

    The limit is the 1 % quantile of each training image's distance to its nearest neighbour, so that about one
    unrelated image in a hundred is listed too: the pairs are information.  Fewer than 100 training images give no limit
    and no pairs.
    """
    if len(train) < 1 / _CLOSEST or not len(later):
        return []
    reference = pooled(train)
    centre = reference.mean(0)
    known, queries = (_unit(part - centre) for part in (reference, pooled(later)))
    limit = float(np.quantile(_nearest(known, known, itself=True)[1], _CLOSEST))
    nearest, distance = _nearest(queries, known, itself=False)
    found = np.flatnonzero(distance <= limit)
    return [
        SimilarPair(paths=(train_paths[nearest[row]], later_paths[row]), distance=round(float(distance[row]), 4))
        for row in found[np.argsort(distance[found], kind="stable")]
    ]


def _unit(rows: Floats) -> Floats:
    return cast(Floats, rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def _nearest(queries: Floats, known: Floats, *, itself: bool) -> tuple[Ints, Floats]:
    """Return the nearest row of `known` and its cosine distance of each query. itself: another row of the same."""
    places, distances = np.empty(len(queries), np.int64), np.empty(len(queries))
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK] @ known.T
        rows = np.arange(len(block))
        if itself:
            block[rows, start + rows] = -np.inf
        places[start : start + _BLOCK] = block.argmax(1)
        distances[start : start + _BLOCK] = 1 - block[rows, block.argmax(1)]
    return places, np.maximum(distances, 0.0)
