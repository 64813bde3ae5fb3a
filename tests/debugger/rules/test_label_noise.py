"""LabelNoise: the model is sure, and labels of no particular class contradict it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from clearsight.core.context import RunContext
from clearsight.core.label_check import LabelCheck, Suspect
from clearsight.core.tensors import Moment, PredictionRecord
from clearsight.debugger.hook import Hook
from clearsight.debugger.rules.label_noise import LabelNoise
from clearsight.debugger.storage.saved_run import SavedRun
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.rules import only, verdict
from clearsight.testing.tapes import prediction_record
from tests.debugger.scenes import scenes, thumbnail_record

IMAGES, BATCH = 480, 16


def run(
    *,
    noise: float = 0.0,
    skill: float = 0.9,
    count: int = 6,
    epochs: int = 6,
    memorises: int | None = None,
    sharpness: float = 1.0,
    pairs: bool = False,
    shares: npt.ArrayLike | None = None,
    settings: dict[str, object] | None = None,
    seed: int = 0,
) -> Tape:
    """Return a run of a model that learns what can be learned and is calibrated.

    noise: share of labels drawn at random.  skill: how much of the true class it sees in the end.  memorises: epoch
    from which it knows all labels by heart.  sharpness: above 1 it is surer than it may be.  pairs: it cannot tell
    classes 2k and 2k + 1 apart.
    """
    rng = np.random.default_rng(seed)
    true = rng.choice(count, IMAGES, p=shares)
    labels = np.where(rng.random(IMAGES) < noise, rng.integers(0, count, IMAGES), true)
    ease = rng.gamma(2.0, 1.0, IMAGES)  # of an image
    saved, step = Tape(RunContext(classes=tuple("abcdefghij"[:count]), settings=settings or {}), ended=True), 0
    for epoch in range(1, epochs + 1):
        level = skill * min(1.0, (epoch - 0.5) / 2)
        signal = 4 * level * ease[:, None]
        evidence = rng.normal(0, 1, (IMAGES, count))
        evidence[np.arange(IMAGES), true] += signal[:, 0]
        if pairs:
            evidence[np.arange(IMAGES), true ^ 1] += signal[:, 0]
        odds = signal * evidence  # Bayes' rule for a signal in unit noise
        clean = np.exp(odds - odds.max(1, keepdims=True))
        clean /= clean.sum(1, keepdims=True)
        confidences = (1 - noise) * clean + noise / count  # calibrated for labels of that kind
        confidences = confidences**sharpness / (confidences**sharpness).sum(1, keepdims=True)
        if memorises is not None and epoch >= memorises:
            confidences = 0.1 / count + 0.9 * np.eye(count)[labels]
        for indices in rng.permutation(IMAGES).reshape(-1, BATCH):
            step += 1
            saved.add(predicted_batch(confidences, labels, indices, step, epoch))
    return saved


def predicted_batch(
    confidences: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int64],
    step: int,
    epoch: int,
) -> PredictionRecord:
    rows = confidences[indices]
    surest, true_probability = (
        rows.max(1).astype(np.float32),
        rows[np.arange(len(rows)), labels[indices]].astype(np.float32),
    )
    return PredictionRecord(
        Moment("train", step, epoch, step), labels[indices], rows.argmax(1), surest, true_probability, indices
    )


def rule() -> LabelNoise:
    return LabelNoise()


def fault() -> Tape:
    return run(noise=0.4)


def control() -> Tape:
    return run()


def test_found_when_two_labels_of_five_are_random() -> None:
    found = only(rule(), fault())
    assert found.found
    assert found.value is not None
    assert 0.2 < found.value < 0.45
    assert found.fix == {"label_smoothing": 0.1}
    assert "Check the labels" in found.advice


def test_names_images_whose_labels_are_wrong() -> None:
    rng = np.random.default_rng(0)
    true = rng.choice(6, IMAGES)
    wrong = np.where(rng.random(IMAGES) < 0.4, rng.integers(0, 6, IMAGES), true) != true
    (odd,) = [series for series in only(rule(), fault()).evidence if series.name == "least plausible labels"]
    assert wrong[[int(place) for place in odd.values]].mean() > 0.95


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("skill", [0.1, 0.2, 0.4, 0.9])
def test_clear_of_hard_data_with_good_labels(skill: float, seed: int) -> None:
    assert verdict(rule(), run(skill=skill, seed=seed)) == "clear"


@pytest.mark.parametrize("seed", range(5))
def test_clear_on_similar_classes(seed: int) -> None:
    assert verdict(rule(), run(pairs=True, seed=seed)) == "clear"


@pytest.mark.parametrize("seed", range(3))
def test_clear_of_uneven_classes(seed: int) -> None:
    assert verdict(rule(), run(shares=[0.9, 0.06, 0.02, 0.01, 0.005, 0.005], skill=0.3, seed=seed)) == "clear"


def test_found_though_labels_are_memorised_later() -> None:
    found = only(rule(), run(noise=0.4, epochs=8, memorises=5))
    assert found.found
    assert found.steps is not None
    assert found.steps[1] <= 4 * IMAGES // BATCH


def test_found_of_two_classes_only_when_it_lasts() -> None:
    assert verdict(rule(), run(noise=0.5, count=2)) == "found"
    assert verdict(rule(), run(noise=0.5, count=2, epochs=3, memorises=3)) == "clear"


def test_a_model_at_chance_says_nothing_about_labels() -> None:
    assert verdict(rule(), run(noise=0.4, skill=0.0)) == "clear"


def test_a_model_that_is_sure_without_reason_says_nothing_about_labels() -> None:
    assert verdict(rule(), run(noise=0.6, sharpness=30)) == "clear"


def test_found_within_the_third_epoch() -> None:
    assert verdict(rule(), fault().until(3 * IMAGES // BATCH)) == "found"


@pytest.mark.parametrize("settings", [{"mixup": 0.2}, {"cutmix": 1.0}])
def test_labels_that_are_mixed_on_purpose_are_not_judged(settings: dict[str, object]) -> None:
    assert verdict(rule(), run(noise=0.4, settings=settings)) == "not-enough-data"


def test_does_not_propose_a_setting_that_is_in_use() -> None:
    assert only(rule(), run(noise=0.4, settings={"label_smoothing": 0.1})).fix == {}


def test_says_how_much_is_missing() -> None:
    points = only(rule(), fault().until(10)).points
    assert points is not None
    assert (points.have, points.want) == (160, 400)


def test_one_epoch_is_not_enough() -> None:
    points = only(rule(), fault().until(IMAGES // BATCH)).points
    assert points is not None
    assert (points.have, points.want) == (IMAGES, 2 * IMAGES)


def test_an_epoch_that_goes_on_changes_nothing() -> None:
    """What the first images of an epoch show would be taken back when it is over."""
    saved, epoch = fault(), IMAGES // BATCH
    full = only(rule(), saved.until(3 * epoch))
    assert full.found
    assert [only(rule(), saved.until(step)) for step in (3 * epoch + epoch // 2, 4 * epoch - 1)] == [full, full]


def with_check(contradicted: int, unexplained: float = 0.3, classes: int = 6, images: int = 600) -> Tape:
    """Return a run of one batch whose cached features contradict so many of the 200 surest labels."""
    suspects = (Suspect(path="sea/1.jpg", given="sea", likely="forest", margin=-0.9),)
    checked = LabelCheck(
        images=images,
        classes=classes,
        accuracy=0.6,
        surest=200,
        contradicted=contradicted,
        unexplained=unexplained,
        suspects=suspects,
    )
    return Tape(RunContext(label_check=checked), ended=True)


def test_found_by_cached_features_without_any_prediction() -> None:
    found = only(rule(), with_check(40))
    assert found.found
    assert (found.value, found.threshold) == (0.2, 0.15)
    assert "sea/1.jpg (sea, likely forest)" in found.advice


@pytest.mark.parametrize("checked", [(20,), (60, 0.05), (40, 0.3, 2), (60, 0.3, 6, 150)])
def test_features_that_find_nothing_leave_the_verdict_to_the_predictions(checked: tuple[int, ...]) -> None:
    assert verdict(rule(), with_check(*checked)) == "not-enough-data"


def test_a_check_survives_the_file_of_the_context() -> None:
    context = with_check(40).context
    assert RunContext.from_json(context.to_json()) == context


@pytest.fixture(scope="module")
def thumbnails(scenes: Path) -> tuple[Tensor, Tensor]:
    """Return 480 real photographs (N, 192) of 8 x 8 pixels in 0 to 1, and labels (N,) of six classes."""
    pixels, labels = [], []
    for label, folder in enumerate(sorted((scenes / "seg_train").iterdir())):
        for file in sorted(folder.iterdir())[:80]:
            with Image.open(file) as image:
                pixels.append(np.asarray(image.convert("RGB").resize((8, 8), Image.Resampling.BOX)))
                labels.append(label)
    return torch.from_numpy(np.stack(pixels)).reshape(len(pixels), -1) / 255, torch.tensor(labels)


def regression(pixels: Tensor, labels: Tensor, folder: Path) -> Tape:
    """Return the run of a softmax regression on thumbnails, which gets half of the labels right."""
    torch.manual_seed(0)
    model, loader = nn.Linear(192, 6), DataLoader(TensorDataset(pixels, labels), batch_size=32, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    hook = Hook(folder, quiet=True, rules="none").watch(model, optimizer=optimizer)
    for _ in range(20):
        for batch, classes in loader:
            optimizer.zero_grad()
            functional.cross_entropy(model(batch), classes).backward()
            optimizer.step()
    hook.close()
    return SavedRun(folder).tape()


@pytest.mark.parametrize(("noise", "said"), [(0.0, "clear"), (0.2, "found"), (0.4, "found")])
def test_of_a_weak_network_random_labels_are_found_and_right_ones_are_not(
    thumbnails: tuple[Tensor, Tensor], noise: float, said: str, tmp_path: Path
) -> None:
    pixels, labels = thumbnails
    random = torch.Generator().manual_seed(1)
    others = torch.randint(1, 6, labels.shape, generator=random)
    wrong = torch.rand(labels.shape, generator=random) < noise
    assert verdict(rule(), regression(pixels, (labels + wrong * others) % 6, tmp_path)) == said


# Labels that have nothing to do with their images


def unrelated(*, shuffled: bool = True, learned: bool = False, misread: bool = False) -> Tape:
    """Return a run on scenes. shuffled: labels in random order.  learned: predicted in the first epoch."""
    draw, facts = np.random.default_rng(0), RunContext(classes=tuple("abcd"))
    saved = Tape(replace(facts, loop=replace(facts.loop, misread=(1,) if misread else ())), ended=True)
    (images, labels), valid = scenes(256, seed=1), scenes(160, seed=2)
    order = torch.randperm(256, generator=torch.Generator().manual_seed(7)) if shuffled else torch.arange(256)
    saved.add(thumbnail_record(images, labels[order], "train", 8))
    for step in range(1, 31):
        given = draw.integers(0, 4, 32)
        predicted = given if learned and step % 2 else draw.integers(0, 4, 32)
        saved.add(prediction_record(given, predicted, step=step, epoch=(step + 9) // 10))
    saved.add(thumbnail_record(*valid, "eval", 10))
    return saved


def test_labels_in_random_order_are_found() -> None:
    found = only(rule(), unrelated())
    assert found.severity == "severe"
    assert found.cause.startswith("the labels of training have nothing to do with their images")
    assert "256 training images" in found.cause


@pytest.mark.parametrize(
    "saved",
    [unrelated(shuffled=False), unrelated(learned=True), unrelated(misread=True)],
    ids=["related", "learned", "modes-misread"],
)
def test_labels_are_not_called_random_where_anything_says_otherwise(saved: Tape) -> None:
    assert verdict(rule(), saved) != "found"
