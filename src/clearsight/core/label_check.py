"""LabelCheck: the labels of a dataset beside what features that never saw them say."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

LEAST_IMAGES = 200  # with fewer, clean data of hard classes exceed the limits by chance
LIMIT = 0.15  # share of contradicted labels among the surest third
BINARY_LIMIT = 0.25  # the same with two classes, where no other class is left to compare the given one with
UNEXPLAINED_LIMIT = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspect:
    """An image whose label is probably wrong. margin: score of the given class less that of the likely one."""

    path: str
    given: str
    likely: str
    margin: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelCheck:
    """Check of labels by a classifier on frozen features that did not see the image's label.

    images: that were judged.  classes: among them.  accuracy: share whose label is the classifier's prediction.
    surest: images of the third with the highest scores; contradicted: those of them with another label.
    unexplained: twice the share, among the surer half, of contradicted labels that are less probable than the median of
    the classes that were not predicted. Wrong labels of no particular class are; similar classes are not.
    suspects: images whose labels confident learning calls wrong, the worst first.
    """

    images: int
    classes: int
    accuracy: float
    surest: int
    contradicted: int
    unexplained: float
    suspects: tuple[Suspect, ...] = ()

    @property
    def share(self) -> float:
        """Share of contradicted labels among the surest third, in [0, 1]."""
        return self.contradicted / max(self.surest, 1)

    @property
    def limit(self) -> float:
        """Share from which the labels are called noisy."""
        return BINARY_LIMIT if self.classes == 2 else LIMIT

    @property
    def enough(self) -> bool:
        """True if there are enough images for a verdict."""
        return self.images >= LEAST_IMAGES

    @property
    def noisy(self) -> bool:
        """True if the labels are wrong more often than hard but clean data explain.

        Classes that are hard to tell apart are contradicted often too (10 classes of CIFAR enlarged from 32 pixels:
        0.16 to 0.22), but there the label is the second choice; hence the second limit.
        """
        explained = self.classes > 2 and self.unexplained < UNEXPLAINED_LIMIT
        return self.enough and self.share >= self.limit and not explained

    def sentence(self) -> str:
        """Return the measurement as a clause, for people."""
        return (
            f"of the {self.surest:,} images that a classifier on frozen features is surest of, {self.share:.0%} have "
            f"another label (limit {self.limit:.0%}; {self.images:,} images judged)"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields, `share`, `limit`, and `noisy`, null with too few images."""
        verdict = self.noisy if self.enough else None
        return {**asdict(self), "share": self.share, "limit": self.limit, "noisy": verdict}
