"""Cases of the benchmark: healthy scripts that learn, and scripts with one planted fault, in three parts.

The parts share no style, no network and no data. A third of the kinds of faults is in the held-out part alone, and
`UNSEEN_KINDS` are in the unseen part alone, which was written without a look at the code of the rules.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from clearsight.testing.faults.loops.data import BINARY_DATA, GREY
from clearsight.testing.faults.loops.data_kinds import BATCH_KINDS, LABEL_KINDS, PIXEL_KINDS
from clearsight.testing.faults.loops.kind import BINARY, UNSEEN_STYLES, LoopFault, Requirement
from clearsight.testing.faults.loops.model_kinds import MODEL_KINDS
from clearsight.testing.faults.loops.networks import TRAITS
from clearsight.testing.faults.loops.optimisation_kinds import LOSS_KINDS, RATE_KINDS, STEP_KINDS
from clearsight.testing.faults.loops.setup import LoopSettings
from clearsight.testing.faults.loops.unseen_kinds import UNSEEN_KINDS
from clearsight.testing.faults.loops.unseen_networks import UNSEEN_TRAITS

# Kinds of the first two parts; the unseen part has them too.
KINDS: tuple[LoopFault, ...] = (
    *STEP_KINDS,
    *RATE_KINDS,
    *LOSS_KINDS,
    *LABEL_KINDS,
    *PIXEL_KINDS,
    *BATCH_KINDS,
    *MODEL_KINDS,
)
ALL_KINDS: tuple[LoopFault, ...] = (*KINDS, *UNSEEN_KINDS)
DRAW_SEED = 20
# Kinds that the development part leaves out, drawn by `draw` before any run.
HELD_OUT_KINDS: frozenset[str] = frozenset(
    [
        "always_evaluation_mode",
        "augmentation_extreme",
        "backward_of_detached_loss",
        "batch_norm_pairs",
        "class_order_differs",
        "dead_relu",
        "decay_too_soon",
        "few_images_drawn",
        "head_frozen",
        "head_replaced_late",
        "label_noise_20",
        "label_noise_40",
        "label_smoothing_09",
        "labels_shuffled",
        "loss_sign",
        "mean_divided_again",
        "momentum_0999",
        "nll_on_logits",
        "one_batch_forever",
        "pixels_255",
        "sigmoid_before_cross_entropy",
        "tanh_saturated",
        "valid_blurred",
        "warm_up_too_long",
        "zero_grad_before_step",
    ]
)
FAULT_CASES: Mapping[str, int] = {"development": 2, "held-out": 2, "unseen": 1, "smoke": 2}  # of each kind in a part


@dataclass(frozen=True, kw_only=True)
class LoopPair:
    """A style of script with a network and data, and the settings with which it learns.

    side: pixels of the images.
    """

    style: str
    network: str
    data: str
    side: int
    settings: LoopSettings
    sgd_lr: float = 0.05

    @property
    def traits(self) -> frozenset[Requirement]:
        """Properties of network and data that decide which faults matter."""
        colour: frozenset[Requirement] = frozenset() if self.data in GREY else frozenset({"colour"})
        classes: frozenset[Requirement] = frozenset() if self.data in BINARY_DATA else frozenset({"multiclass"})
        return (TRAITS | UNSEEN_TRAITS)[self.network] | colour | classes

    def variant(self, name: str) -> LoopSettings:
        """Return the settings of a healthy variant."""
        match name:
            case "sgd":
                return self.settings.changed(optimizer="sgd", lr=self.sgd_lr, weight_decay=3e-4)
            case "augmented":
                return self.settings.changed(augment=not self.settings.augment)
            case "frozen":
                return self.settings.changed(freeze=True, lr=3 * self.settings.lr)
            case _:
                return self.settings


_PRETRAINED = LoopSettings(lr=1e-3, epochs=3, batch_size=16, train_size=256, pretrained=True)
_DIGITS = LoopSettings(lr=5e-3, epochs=5, train_size=640)
_RANDOM = LoopSettings(lr=3e-3, epochs=5, train_size=640)
_NATURE = _RANDOM.changed(train_size=384)

DEVELOPMENT: tuple[LoopPair, ...] = tuple(
    LoopPair(style=style, network=network, data=data, side=side, settings=settings, sgd_lr=sgd_lr)
    for style, network, data, side, settings, sgd_lr in (
        ("tutorial", "small_cnn", "digits", 8, _DIGITS, 0.05),
        ("tutorial", "mobilenetv2", "intel-scenes", 48, _PRETRAINED, 0.005),
        ("tutorial", "resnet8", "intel-scenes", 32, _RANDOM, 0.05),
        ("timm_like", "resnet8", "digits", 8, _DIGITS.changed(accumulate=2, batch_size=16, clip=1.0), 0.05),
        ("timm_like", "small_cnn", "isic-2024", 32, _RANDOM, 0.02),
        ("timm_like", "small_cnn", "intel-scenes", 32, _RANDOM, 0.05),
        ("binary", "mlp", "high-digits", 8, _DIGITS.changed(lr=2e-3), 0.05),
        ("binary", "resnet8", "isic-2024", 32, _RANDOM, 0.02),
        ("binary", "mobilenetv2", "isic-2024", 48, _PRETRAINED, 0.005),
    )
)
HELD_OUT: tuple[LoopPair, ...] = tuple(
    LoopPair(style=style, network=network, data=data, side=side, settings=settings, sgd_lr=sgd_lr)
    for style, network, data, side, settings, sgd_lr in (
        ("script", "vgg", "cifar-10", 32, _RANDOM.changed(lr=1e-3), 0.01),
        ("script", "mobilenetv1", "dog-breeds", 64, _PRETRAINED.changed(lr=2e-3, epochs=5, train_size=256), 0.01),
        ("script", "vit", "cifar-animals", 24, _RANDOM.changed(lr=1e-3), 0.02),
        ("lightning", "regnet", "cifar-animals", 32, _RANDOM.changed(lr=1e-3), 0.05),
        ("lightning", "mobilenetv1", "imagenet-animals", 64, _PRETRAINED.changed(epochs=8, train_size=96), 0.02),
        ("lightning", "vgg", "cifar-10", 32, _RANDOM.changed(lr=1e-3), 0.01),
        ("hugging_face", "convnext", "cifar-animals", 32, _RANDOM.changed(lr=1e-3), 0.02),
        ("hugging_face", "mobilenetv1", "dog-breeds", 64, _PRETRAINED.changed(lr=2e-3, epochs=5, train_size=256), 0.05),
        ("hugging_face", "vit", "cifar-animals", 24, _RANDOM.changed(lr=1e-3), 0.02),
    )
)
UNSEEN: tuple[LoopPair, ...] = tuple(
    LoopPair(style=style, network=network, data=data, side=side, settings=settings, sgd_lr=sgd_lr)
    for style, network, data, side, settings, sgd_lr in (
        ("iterations", "strided_cnn", "cifar-groups", 32, _RANDOM, 0.05),
        ("iterations", "group_resnet", "intel-nature", 40, _NATURE.changed(accumulate=2, batch_size=16), 0.02),
        ("iterations", "mobilenetv2_mlp", "intel-places", 64, _PRETRAINED, 0.01),
        ("trainer_class", "densenet", "cifar-groups", 32, _RANDOM.changed(lr=5e-3), 0.05),
        ("trainer_class", "strided_cnn", "intel-nature", 40, _NATURE, 0.05),
        ("accelerated", "shufflenet", "intel-nature", 48, _NATURE.changed(epochs=8), 0.05),
        ("accelerated", "mixer", "intel-nature", 32, _NATURE.changed(lr=2e-3, epochs=6), 0.1),
        ("accelerated", "mobilenetv2_mlp", "intel-places", 64, _PRETRAINED, 0.01),
    )
)
PARTS: Mapping[str, Sequence[LoopPair]] = {
    "development": DEVELOPMENT,
    "held-out": HELD_OUT,
    "unseen": UNSEEN,
    "smoke": DEVELOPMENT[:1],
}
_SMOKE = (
    *(
        "step_missing",
        "zero_grad_missing",
        "lr_x100",
        "optimizer_of_copy",
        "leak",
        "valid_labels_shifted",
        "unshuffled",
    ),
)


@dataclass(frozen=True, kw_only=True)
class LoopCase:
    """A script to run. fault: name of its kind, "" for a healthy one.  variant: the healthy recipe it is based on."""

    pair: LoopPair
    variant: str
    seed: int
    settings: LoopSettings
    fault: str = ""

    @property
    def name(self) -> str:
        """The fault, or the healthy variant."""
        return self.fault or f"healthy-{self.variant}"

    @property
    def key(self) -> str:
        """Folder name of the run, different for other settings and other code."""
        pair = self.pair
        settings = json.dumps([asdict(self.settings), pair.side], default=str)
        digest = hashlib.sha256((_code(pair.style) + settings).encode()).hexdigest()[:8]
        return "-".join((self.name, pair.style, pair.network, pair.data, str(self.seed), digest))

    @property
    def twin(self) -> LoopCase:
        """The healthy case of the same recipe and seed."""
        return LoopCase(pair=self.pair, variant=self.variant, seed=self.seed, settings=self.pair.variant(self.variant))


@cache
def _code(style: str) -> str:
    """Return a digest of the code that makes a run: a run of other code is another run."""
    folder = Path(__file__).parent
    shared = ("data", "networks", "statements")
    unseen = tuple(f"unseen_{name}" for name in shared) if style in UNSEEN_STYLES else ()
    files = [folder / f"{name}.py" for name in (*shared, "execution", *unseen)]
    return "".join(
        hashlib.sha256(file.read_bytes()).hexdigest() for file in (*files, folder / "styles" / f"{style}.py")
    )


def kind(name: str) -> LoopFault:
    """Return a kind of fault by name; raises KeyError."""
    return {kind.name: kind for kind in ALL_KINDS}[name]


def cases(part: str, count: int | None = None) -> list[LoopCase]:
    """Return the cases of a part, healthy ones first.

    count: cases of each kind of fault, in different styles if it can; those of the part where it is None.
    """
    pairs = PARTS[part]
    count = FAULT_CASES[part] if count is None else count
    seeds_of_sgd = (0, 1) if count > 1 else (0,)
    healthy = [
        LoopCase(pair=pair, variant=variant, seed=seed, settings=pair.variant(variant))
        for variant, seeds in (("base", (0, 1)), ("sgd", seeds_of_sgd), ("augmented", (1,)), ("frozen", (0,)))
        for pair in pairs
        for seed in seeds
        if variant != "frozen" or pair.settings.pretrained
    ]
    if part == "smoke":
        healthy = [case for case in healthy if case.variant in ("base", "sgd") and case.seed == 0]
        return [*healthy, *(faulty(kind(name), pairs[0], 0) for name in _SMOKE)]
    match part:
        case "development":
            chosen = [kind for kind in KINDS if kind.name not in HELD_OUT_KINDS]
        case "unseen":
            chosen = list(ALL_KINDS)
        case _:
            chosen = list(KINDS)
    broken = [
        faulty(kind, pair, seed)
        for place, kind in enumerate(chosen)
        for seed, pair in enumerate(places(kind, pairs, place)[:count])
    ]
    return [*healthy, *broken]


def places(kind: LoopFault, pairs: Sequence[LoopPair], place: int) -> list[LoopPair]:
    """Return the pairs that a kind fits, different styles first, from one on that `place` chooses."""
    fitting = [pair for pair in pairs if pair.style in kind.styles and set(kind.needs) <= pair.traits]
    turn = place % max(1, len(fitting))
    rotated = [*fitting[turn:], *fitting[:turn]]
    earlier: dict[str, int] = {}
    ranked = []
    for pair in rotated:
        earlier[pair.style] = earlier.get(pair.style, -1) + 1
        ranked.append((earlier[pair.style], pair))
    return [pair for _, pair in sorted(ranked, key=lambda item: item[0])]


def faulty(kind: LoopFault, pair: LoopPair, seed: int) -> LoopCase:
    """Return the case of a kind of fault in a pair; the seed counts modulo 2, as there are two healthy ones."""
    settings = pair.variant(kind.variant)
    changes: dict[str, Any] = dict(kind.settings)
    factor = changes.pop("lr_factor", None)
    if factor is not None:
        changes["lr"] = settings.lr * factor
    return LoopCase(
        pair=pair, variant=kind.variant, seed=seed % 2, settings=settings.changed(**changes), fault=kind.name
    )


def outputs(pair: LoopPair, classes: int) -> int:
    """Return the outputs of a network."""
    return 1 if pair.style in BINARY else classes


def draw(seed: int, share: float = 1 / 3) -> frozenset[str]:
    """Return the names of the kinds that are in the held-out part alone: a share of those that it can have."""
    import random

    styles = {pair.style for pair in HELD_OUT}
    names = sorted(kind.name for kind in KINDS if styles & set(kind.styles))
    return frozenset(random.Random(seed).sample(names, round(share * len(KINDS))))
