"""The loop: exact resuming, endings with their reasons, and the weights of the best epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from clearsight.core.errors import NotResumable
from clearsight.core.events import NullObserver, RunStatus, StepRecord
from clearsight.core.recipe import Recipe
from clearsight.core.stop import StopKind, StopReason
from clearsight.training.batches import Batch
from clearsight.training.checkpoint import Checkpoints
from clearsight.training.distributed import World
from clearsight.training.job import Phase, TrainingJob, TrainingResult
from clearsight.training.loop import train
from clearsight.training.optim import ParameterGroup
from clearsight.training.stop import StopSignal
from tests.training.recording import Recording

N, SIZE = 40, 8
GENERATOR = torch.Generator().manual_seed(0)
LABELS = torch.arange(N) % 2
INPUTS = torch.randn(N, 3, 6, 6, generator=GENERATOR) + LABELS.view(-1, 1, 1, 1)


class Shuffled:
    """Forty noisy images of two classes; the order is a function of the epoch."""

    steps = N // SIZE

    def __init__(self, inputs: torch.Tensor = INPUTS, *, order: bool = True) -> None:
        self.inputs, self.order = inputs, order

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        order = np.random.default_rng(number).permutation(N) if self.order else np.arange(N)
        for step in range(start, self.steps):
            chosen = order[step * SIZE : (step + 1) * SIZE]
            yield Batch(self.inputs[chosen], LABELS[chosen], chosen, tuple(map(str, chosen)))


class StopAfter(StopSignal):
    """Asks to stop after some steps, as a signal would."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    @property
    def reason(self) -> StopReason | None:
        self.left -= 1
        return StopReason(StopKind.SIGNAL, "stopped by SIGINT") if self.left <= 0 else None


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 2)]
    return nn.Sequential(*layers)


def groups(net: nn.Module) -> Sequence[ParameterGroup]:
    return [{"params": list(net.parameters())}]


def one_phase(net: nn.Module, epochs: int, valid: Any = None, batches: Any = None) -> Phase:
    return Phase(
        name="all",
        epochs=epochs,
        model=net,
        train=batches or Shuffled(),
        valid=Shuffled(order=False) if valid is None else valid or None,
        enter=lambda: groups(net),
        train_mode=net.train,
    )


def job(net: nn.Module, folder: Path, **settings: Any) -> TrainingJob:
    recipe = Recipe().replace(**{"epochs": 4, "lr": 0.01, "batch_size": SIZE, **settings})
    folder.mkdir(exist_ok=True)
    return TrainingJob(
        network=net,
        phases=[one_phase(net, recipe.train.epochs)],
        recipe=recipe,
        checkpoints=Checkpoints(folder),
        observers=[Recording()],
        stop=StopSignal(),
        world=World(),
        device=torch.device("cpu"),
    )


def weights(net: nn.Module) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in net.state_dict().values()]


def run(
    folder: Path, change: Callable[[TrainingJob], TrainingJob] = lambda j: j, *, resume: bool = False, **settings: Any
) -> tuple[nn.Module, TrainingResult, Recording]:
    net = network()
    this = change(job(net, folder, **settings))
    outcome = train(this, resume=resume)
    recording = this.observers[0]
    assert isinstance(recording, Recording)
    return net, outcome, recording


def test_learns_and_ends_with_the_weights_of_the_best_epoch(tmp_path: Path) -> None:
    net, outcome, seen = run(tmp_path)
    assert outcome.status is RunStatus.COMPLETED
    assert seen.steps[-1].scalars["loss"] < seen.steps[0].scalars["loss"]
    assert outcome.valid["accuracy"] == max(epoch.valid["accuracy"] for epoch in seen.epochs)
    net.eval()
    accuracy = (net(INPUTS).argmax(1) == LABELS).float().mean()
    assert float(accuracy) == pytest.approx(outcome.valid["accuracy"])


def test_every_step_is_announced_once_with_its_images(tmp_path: Path) -> None:
    _, _, seen = run(tmp_path)
    assert [record.step for record in seen.steps] == list(range(1, 21))
    for epoch in range(1, 5):
        ids = [name for record in seen.steps if record.epoch == epoch for name in record.ids]
        assert sorted(ids, key=int) == [str(i) for i in range(N)]


SETTINGS: dict[str, dict[str, Any]] = {
    "adamw": {},
    "sgd": {"optimizer": "sgd"},
    "ema": {"ema": 0.9},
    "accumulate": {"accumulate": 2},
    "mixup and cutmix": {"mixup": 0.2, "cutmix": 1.0},
    "clipping": {"clip_grad": 0.1},
    "step schedule": {"schedule": "step", "step_size": 1},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("steps", [1, 5, 7])
def test_stopped_at_any_step_and_resumed_the_weights_are_bit_equal(
    tmp_path: Path, settings: dict[str, Any], steps: int
) -> None:
    """Also at the very end of an epoch, before its validation (step 5)."""
    whole, undisturbed, seen = run(tmp_path / "whole", **settings)
    _, first, first_part = run(tmp_path / "parts", lambda j: replace(j, stop=StopAfter(steps)), **settings)
    assert first.status is RunStatus.INTERRUPTED
    resumed, outcome, second_part = run(tmp_path / "parts", resume=True, **settings)
    assert outcome.status is RunStatus.COMPLETED
    assert all(map(torch.equal, weights(whole), weights(resumed)))
    assert (outcome.best_epoch, outcome.valid) == (undisturbed.best_epoch, undisturbed.valid)
    losses = [r.scalars["loss"] for r in [*first_part.steps, *second_part.steps]]
    assert losses == [r.scalars["loss"] for r in seen.steps]
    assert [e.train for e in [*first_part.epochs, *second_part.epochs]] == [e.train for e in seen.epochs]


def test_checkpoints_inside_an_epoch_resume_exactly_too(tmp_path: Path) -> None:
    whole, _, _ = run(tmp_path / "whole")

    class Crash(NullObserver):
        def on_step(self, record: StepRecord) -> None:
            if record.step == 13:
                raise KeyboardInterrupt  # nothing is saved on the way out, as with kill -9

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", lambda j: replace(j, observers=[Crash()]), checkpoint_every=1e-9)
    assert Checkpoints(tmp_path / "parts").last_step() == 12
    resumed, _, _ = run(tmp_path / "parts", resume=True)
    assert all(map(torch.equal, weights(whole), weights(resumed)))


def test_resuming_a_finished_run_trains_nothing(tmp_path: Path) -> None:
    whole, outcome, _ = run(tmp_path)
    resumed, same, seen = run(tmp_path, resume=True)
    assert seen.steps == []
    assert (same.status, same.best_epoch, same.valid) == (outcome.status, outcome.best_epoch, outcome.valid)
    assert all(map(torch.equal, weights(whole), weights(resumed)))


def test_two_phases_resume_in_either(tmp_path: Path) -> None:
    def phases(this: TrainingJob) -> TrainingJob:
        net = this.network
        assert isinstance(net, nn.Sequential)

        def only_head() -> Sequence[ParameterGroup]:
            for parameter in net.parameters():
                parameter.requires_grad_(False)
            for parameter in net[5].parameters():
                parameter.requires_grad_(True)
            return [{"params": list(net[5].parameters())}]

        def head_mode() -> None:
            net.eval()
            net[4:].train()

        def everything() -> Sequence[ParameterGroup]:
            for parameter in net.parameters():
                parameter.requires_grad_(True)
            return groups(net)

        first = replace(one_phase(net, 2), name="head", enter=only_head, train_mode=head_mode)
        return replace(this, phases=[first, replace(one_phase(net, 2), enter=everything)])

    whole, _, seen = run(tmp_path / "whole", phases)
    assert seen.epochs[2].lr != seen.epochs[1].lr
    for steps in (4, 10, 14):
        folder = tmp_path / str(steps)
        run(folder, lambda j, n=steps: replace(phases(j), stop=StopAfter(n)))  # type: ignore[misc]
        resumed, _, _ = run(folder, phases, resume=True)
        assert all(map(torch.equal, weights(whole), weights(resumed))), steps


def guarded(this: TrainingJob, *, first: int = 1, broken: float = 0.0, reason: str = "") -> TrainingJob:
    """Return a job of two phases, the second of which needs a clear gain.

    first: epochs of the first phase.  broken: noise that the second one trains on.
    """
    noise = torch.randn(N, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    second = one_phase(this.network, 3, batches=Shuffled(INPUTS + broken * noise))
    return replace(
        this,
        phases=[
            one_phase(this.network, first),
            replace(second, only_clear_gain=True, reason_against=lambda valid: reason if valid else ""),
        ],
    )


def test_a_second_phase_that_needs_a_clear_gain_resumes_exactly(tmp_path: Path) -> None:
    whole, undisturbed, seen = run(tmp_path / "whole", guarded, lr=0.003)
    assert undisturbed.gain is not None
    assert undisturbed.gain.is_clear, "or the test would not show that its epochs can be used"
    assert undisturbed.gain.value == pytest.approx(undisturbed.valid["accuracy"] - seen.epochs[0].valid["accuracy"])
    assert undisturbed.best_epoch is not None
    assert undisturbed.best_epoch > 1
    for steps in (3, 5, 6, 12):
        folder = tmp_path / str(steps)
        run(folder, lambda j, n=steps: replace(guarded(j), stop=StopAfter(n)), lr=0.003)  # type: ignore[misc]
        resumed, outcome, _ = run(folder, guarded, resume=True, lr=0.003)
        assert all(map(torch.equal, weights(whole), weights(resumed))), steps
        assert (outcome.gain, outcome.best_epoch) == (undisturbed.gain, undisturbed.best_epoch)


def test_without_a_clear_gain_the_weights_of_the_first_phase_are_kept(tmp_path: Path) -> None:
    net, outcome, seen = run(tmp_path, lambda j: guarded(j, first=3, broken=50.0), lr=0.05)
    assert len(seen.epochs) == 6
    assert outcome.best_epoch is not None
    assert outcome.best_epoch <= 3
    assert outcome.valid == seen.epochs[outcome.best_epoch - 1].valid
    assert outcome.gain is not None
    assert not outcome.gain.is_clear
    net.eval()
    assert float((net(INPUTS).argmax(1) == LABELS).float().mean()) == pytest.approx(outcome.valid["accuracy"])


def test_a_phase_with_a_reason_against_it_is_left_out(tmp_path: Path) -> None:
    def left_out(this: TrainingJob) -> TrainingJob:
        return guarded(this, reason="the first phase is good enough")

    alone, expected, _ = run(tmp_path / "alone", lambda j: replace(j, phases=guarded(j).phases[:1]))
    net, outcome, seen = run(tmp_path / "both", left_out)
    assert [epoch.epoch for epoch in seen.epochs] == [1]
    assert (outcome.status, outcome.left_out) == (RunStatus.COMPLETED, "the first phase is good enough")
    assert (outcome.best_epoch, outcome.valid, outcome.gain) == (1, expected.valid, None)
    assert all(map(torch.equal, weights(alone), weights(net)))
    # A run that has ended there asks again, and gets the same answer.
    same, again, after = run(tmp_path / "both", left_out, resume=True)
    assert (again.status, again.left_out, after.steps) == (RunStatus.COMPLETED, outcome.left_out, [])
    assert all(map(torch.equal, weights(same), weights(net)))


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_phase_that_changes_the_weights_at_its_beginning_resumes_exactly(tmp_path: Path, ema: float) -> None:
    def fresh(this: TrainingJob) -> TrainingJob:
        net, (first, second) = this.network, guarded(this).phases
        assert isinstance(net, nn.Sequential)

        def reset() -> None:
            with torch.no_grad():
                net[5].weight.zero_()  # type: ignore[operator, union-attr]

        return replace(this, phases=[first, replace(second, begin=reset)])

    without, _, _ = run(tmp_path / "without", guarded, ema=ema)
    whole, _, _ = run(tmp_path / "whole", fresh, ema=ema)
    assert not all(map(torch.equal, weights(without), weights(whole)))
    for steps in (4, 6, 9):  # 6: before the first step of the second phase
        folder = tmp_path / str(steps)
        run(folder, lambda j, n=steps: replace(fresh(j), stop=StopAfter(n)), ema=ema)  # type: ignore[misc]
        resumed, _, _ = run(folder, fresh, resume=True, ema=ema)
        assert all(map(torch.equal, weights(whole), weights(resumed))), steps


def test_a_reason_against_a_phase_is_not_asked_within_it(tmp_path: Path) -> None:
    run(tmp_path, lambda j: replace(guarded(j), stop=StopAfter(8)))
    _, outcome, _ = run(tmp_path, lambda j: guarded(j, reason="too late"), resume=True)
    assert outcome.left_out == ""


def test_the_best_of_the_first_phase_survives_a_worse_second(tmp_path: Path) -> None:
    """Its weights come back whole, the backbone that the second phase changed included."""

    def phases(this: TrainingJob) -> TrainingJob:
        broken = Shuffled(torch.randn(N, 3, 6, 6, generator=torch.Generator().manual_seed(1)) * 50)
        return replace(this, phases=[one_phase(this.network, 3), one_phase(this.network, 3, batches=broken)])

    net, outcome, _ = run(tmp_path, phases, lr=0.05)
    assert outcome.best_epoch is not None
    assert outcome.best_epoch <= 3
    net.eval()
    assert float((net(INPUTS).argmax(1) == LABELS).float().mean()) == pytest.approx(outcome.valid["accuracy"])


def test_a_nan_loss_ends_the_run_and_leaves_the_best_weights(tmp_path: Path) -> None:
    class Poisoned(Shuffled):
        def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
            for step, batch in enumerate(super().epoch(number, start), start):
                yield replace(batch, inputs=batch.inputs * float("nan")) if (number, step) == (3, 2) else batch

    net, outcome, seen = run(tmp_path, lambda j: replace(j, phases=[one_phase(j.network, 4, batches=Poisoned())]))
    assert outcome.status is RunStatus.DIVERGED
    assert outcome.stop == StopReason(StopKind.DIVERGED, "the loss became NaN at step 13 (epoch 3)")
    assert outcome.best_epoch in (1, 2)
    assert len(seen.steps) == 13  # the step with the NaN is announced too
    assert math.isnan(seen.steps[-1].scalars["loss"])
    stored, facts = Checkpoints.read(Checkpoints(tmp_path).best)
    assert facts["epoch"] == outcome.best_epoch
    assert all(torch.isfinite(tensor).all() for tensor in stored.values())
    assert all(torch.isfinite(tensor).all() for tensor in weights(net))


def test_patience_ends_the_run(tmp_path: Path) -> None:
    _, outcome, seen = run(tmp_path, epochs=50, patience=2, lr=1e-9, monitor="accuracy", schedule="constant")
    assert outcome.status is RunStatus.STOPPED_EARLY
    assert outcome.stop == StopReason(StopKind.PATIENCE, "no better accuracy in 2 epochs")
    assert len(seen.epochs) < 50


def test_the_time_limit_ends_the_run_and_it_can_be_resumed(tmp_path: Path) -> None:
    _, outcome, seen = run(tmp_path, lambda j: replace(j, stop=StopSignal(1e-9)))
    assert outcome.status is RunStatus.STOPPED_EARLY
    assert outcome.stop is not None
    assert outcome.stop.kind is StopKind.TIME_LIMIT
    assert len(seen.steps) == 1
    whole, _, _ = run(tmp_path / "whole")
    resumed, _, _ = run(tmp_path, resume=True)
    assert all(map(torch.equal, weights(whole), weights(resumed)))


def test_accumulated_batches_equal_one_large_batch(tmp_path: Path) -> None:
    class Large(Shuffled):
        steps = 1

        def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
            if start == 0:
                parts, join = list(Shuffled().epoch(number)), torch.cat
                yield Batch(
                    join([b.inputs for b in parts]),
                    join([b.labels for b in parts]),
                    np.concatenate([b.indices for b in parts]),
                    sum((b.ids for b in parts), ()),
                )

    def plain(net: nn.Module) -> nn.Module:
        net[1] = nn.Identity()  # type: ignore[operator]  # batch statistics and dropout differ by batch
        net[4] = nn.Identity()  # type: ignore[operator]
        return net

    small, big = plain(network()), plain(network())
    train(job(small, tmp_path / "a", accumulate=5, optimizer="sgd"))
    this = job(big, tmp_path / "b", optimizer="sgd")
    train(replace(this, phases=[one_phase(big, 4, batches=Large())]))
    for first, second in zip(weights(small), weights(big), strict=True):
        assert torch.allclose(first, second, atol=1e-5)


def test_without_validation_the_last_epoch_is_the_best(tmp_path: Path) -> None:
    _, outcome, seen = run(tmp_path, lambda j: replace(j, phases=[one_phase(j.network, 4, valid=False)]))
    assert outcome.best_epoch == 4
    assert all(epoch.valid == {} for epoch in seen.epochs)


def test_other_weights_under_the_trained_part_are_refused(tmp_path: Path) -> None:
    def frozen_start(this: TrainingJob) -> TrainingJob:
        net = this.network
        assert isinstance(net, nn.Sequential)

        def enter() -> Sequence[ParameterGroup]:
            net[0].requires_grad_(False)
            return groups(net)

        return replace(this, phases=[replace(one_phase(net, 4), enter=enter)])

    run(tmp_path, lambda j: replace(frozen_start(j), stop=StopAfter(3)))

    def tampered(this: TrainingJob) -> TrainingJob:
        with torch.no_grad():
            this.network[0].weight.add_(1)  # type: ignore[index]
        return frozen_start(this)

    with pytest.raises(NotResumable, match="not those that the run began with"):
        run(tmp_path, tampered, resume=True)


def test_a_full_disk_leaves_the_last_checkpoint_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors import SafetensorError

    from clearsight.core.errors import DiskFull
    from clearsight.training import checkpoint

    run(tmp_path, lambda j: replace(j, stop=StopAfter(6)))
    before = Checkpoints(tmp_path).newest.read_bytes()

    def full(*_: object, **__: object) -> None:
        # What safetensors raises on a full disk: an error of its own, with the system's inside the text.
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(DiskFull, match="no space is left"):
        run(tmp_path, resume=True)
    assert Checkpoints(tmp_path).newest.read_bytes() == before


def test_a_last_epoch_ends_the_training_within_the_schedule_of_all_epochs(tmp_path: Path) -> None:
    _, _, whole = run(tmp_path / "whole")
    _, outcome, part = run(tmp_path / "part", lambda j: replace(j, last_epoch=2))
    assert outcome.status is RunStatus.COMPLETED
    assert [epoch.epochs for epoch in part.epochs] == [2, 2]
    assert [step.scalars for step in part.steps] == [step.scalars for step in whole.steps[: len(part.steps)]]
