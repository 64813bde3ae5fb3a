"""torch_hooks: loops of every kind are tracked unchanged, and torch is left as it was."""

from __future__ import annotations

import copy
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.optim import optimizer as optimizers
from torch.utils.data._utils.fetch import _IterableDatasetFetcher, _MapDatasetFetcher
from torch.utils.data.dataloader import _BaseDataLoaderIter

from clearsight.profiler.external import torch_hooks
from tests.profiler.external.loops import Loop, listening

WHOLE = {"data", "forward", "loss", "backward", "optimizer"}
HOOKED: list[tuple[Any, str]] = [
    *((nn.Module, "__call__"), (torch.autograd, "backward"), (_BaseDataLoaderIter, "__next__"), (torch, "save")),
    *((_MapDatasetFetcher, "fetch"), (_IterableDatasetFetcher, "fetch")),
]


def test_an_ordinary_loop(tmp_path: Path) -> None:
    loop = Loop()
    with listening(tmp_path) as seen:
        loop.train()
        loop.train()
    assert seen.phases() == [WHOLE] * 12
    assert [step.samples for step in seen.timer.log.steps] == [2] * 12
    assert [step.epoch for step in seen.timer.log.steps] == [1] * 6 + [2] * 6
    assert [step.load["images"] for step in seen.timer.log.steps] == [2.0] * 12
    assert seen.names() == []


def test_torch_has_the_very_same_objects_afterwards(tmp_path: Path) -> None:
    originals = [vars(owner)[name] for owner, name in HOOKED]
    hooks = [dict(optimizers._global_optimizer_pre_hooks), dict(optimizers._global_optimizer_post_hooks)]
    moves = {name: name in vars(Tensor) for name in ("to", "cuda", "cpu")}
    with listening(tmp_path) as seen:
        torch_hooks.listen_to_transfers(seen.tracker, seen.patches)
        assert all(vars(owner)[name] is not original for (owner, name), original in zip(HOOKED, originals, strict=True))
        Loop().train()
    assert all(vars(owner)[name] is original for (owner, name), original in zip(HOOKED, originals, strict=True))
    assert [dict(optimizers._global_optimizer_pre_hooks), dict(optimizers._global_optimizer_post_hooks)] == hooks
    assert {name: name in vars(Tensor) for name in moves} == moves


def test_weights_are_equal_with_and_without(tmp_path: Path) -> None:
    plain, tracked = Loop(), Loop()
    for _ in range(2):
        plain.train()
    with listening(tmp_path):
        for _ in range(2):
            tracked.train()
    assert all(map(torch.equal, plain.model.parameters(), tracked.model.parameters()))


def test_a_model_can_be_copied_pickled_and_saved_meanwhile(tmp_path: Path) -> None:
    loop = Loop()
    with listening(tmp_path) as seen:
        loop.train()
        copied, pickled = copy.deepcopy(loop.model), pickle.dumps(loop.model)
        torch.save(loop.model.state_dict(), tmp_path / "model.pt")
        loop.train()
    assert seen.names() == ["checkpoint"]
    assert copied(torch.zeros(1, 3, 2, 2)).shape == (1, 2)
    assert pickle.loads(pickled)(torch.zeros(1, 3, 2, 2)).shape == (1, 2)


def test_accumulated_gradients_are_one_step(tmp_path: Path) -> None:
    loop = Loop()
    with listening(tmp_path) as seen:
        for number, (images, labels) in enumerate(loop.loader, start=1):
            loop.loss(images, labels).backward()  # type: ignore[no-untyped-call]
            if number % 3 == 0:
                loop.optimizer.step()
                loop.optimizer.zero_grad()
    assert seen.phases() == [WHOLE] * 2
    assert [step.samples for step in seen.timer.log.steps] == [6, 6]


def test_optimizers_that_step_one_after_the_other_end_one_step(tmp_path: Path) -> None:
    loop = Loop()
    other = torch.optim.SGD(list(loop.model.parameters())[:1], lr=0.01)
    with listening(tmp_path) as seen:
        for images, labels in loop.loader:
            loop.loss(images, labels).backward()  # type: ignore[no-untyped-call]
            loop.optimizer.step()
            other.step()
    assert [step.step for step in seen.timer.log.steps] == [1, 2, 3, 4, 5, 6]
    assert seen.phases() == [WHOLE] * 6


def test_an_optimizer_that_steps_seldom_ends_no_step_twice(tmp_path: Path) -> None:
    loop = Loop()
    other = torch.optim.SGD(list(loop.model.parameters())[:1], lr=0.01)
    with listening(tmp_path) as seen:
        for number, (images, labels) in enumerate([*loop.loader, *loop.loader]):
            loop.loss(images, labels).backward()  # type: ignore[no-untyped-call]
            loop.optimizer.step()
            if number % 4 == 0:
                other.step()
    assert seen.tracker.recorder.steps == 12


def test_an_optimizer_with_a_closure(tmp_path: Path) -> None:
    loop = Loop()
    optimizer = torch.optim.LBFGS(loop.model.parameters(), max_iter=2)
    images, labels = next(iter(loop.loader))

    def closure() -> float:
        optimizer.zero_grad()
        loss = loop.loss(images, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    with listening(tmp_path) as seen:
        for _ in range(3):
            optimizer.step(closure)
    assert seen.phases() == [{"forward", "loss", "backward", "optimizer"}] * 3


def test_evaluations_are_spans_outside_of_steps(tmp_path: Path) -> None:
    loop = Loop()
    with listening(tmp_path) as seen:
        for _ in range(2):
            loop.train()
            loop.evaluate()
    assert seen.names() == ["validation", "validation"]
    assert [(span.step, span.epoch) for span in seen.spans] == [(6, 1), (12, 2)]
    steps = seen.timer.log.steps
    assert seen.spans[0].start >= steps[5].start + steps[5].seconds
    assert seen.spans[0].start + seen.spans[0].seconds <= steps[6].start
    assert seen.phases() == [WHOLE] * 12


def with_gradients(loop: Loop) -> None:
    loop.model.eval()
    for images, labels in loop.loader:
        loop.loss(images, labels)


def without_gradients_per_batch(loop: Loop) -> None:
    loop.model.eval()
    for images, _ in loop.loader:
        with torch.no_grad():
            loop.model(images)


@pytest.mark.parametrize("evaluate", [with_gradients, without_gradients_per_batch])
@pytest.mark.parametrize("first", [True, False])
def test_evaluations_that_are_recognised_late_are_no_steps(tmp_path: Path, evaluate: Any, first: bool) -> None:
    loop = Loop()
    with listening(tmp_path) as seen:
        if first:
            evaluate(loop)
        loop.train()
        evaluate(loop)
        loop.train()
    assert seen.phases() == [WHOLE] * 12
    assert seen.names() == ["validation"] * (2 if first else 1)
    assert all(span.seconds > 0 for span in seen.spans)


def test_a_teacher_is_a_part_of_the_step(tmp_path: Path) -> None:
    loop, teacher = Loop(), Loop().model.eval()
    with listening(tmp_path) as seen:
        for images, labels in loop.loader:
            with torch.no_grad():
                target = teacher(images)
            (loop.loss(images, labels) + (loop.model(images) - target).square().mean()).backward()
            loop.optimizer.step()
    assert seen.phases() == [WHOLE] * 6
    assert seen.names() == []


def test_a_model_that_is_trained_in_evaluation_mode(tmp_path: Path) -> None:
    loop = Loop()
    loop.model.eval()
    with listening(tmp_path) as seen:
        for images, labels in loop.loader:
            loop.loss(images, labels).backward()  # type: ignore[no-untyped-call]
            loop.optimizer.step()
    assert len(seen.timer.log.steps) == 6
    assert seen.phases()[1:] == [WHOLE] * 5
    assert seen.names() == []


def test_a_backbone_and_a_head_are_both_forward(tmp_path: Path) -> None:
    loop = Loop()
    backbone, head = loop.model[:3], loop.model[3]
    with listening(tmp_path) as seen:
        for images, labels in loop.loader:
            loop.criterion(head(backbone(images)), labels).backward()
            loop.optimizer.step()
    assert seen.phases() == [WHOLE] * 6
    assert [step.samples for step in seen.timer.log.steps] == [2] * 6


def test_without_a_loader_the_models_inputs_are_counted(tmp_path: Path) -> None:
    loop = Loop()
    images, labels = torch.rand(5, 3, 2, 2), torch.zeros(5, dtype=torch.long)
    with listening(tmp_path) as seen:
        for _ in range(3):
            loop.loss(images, labels).backward()  # type: ignore[no-untyped-call]
            loop.optimizer.step()
    assert seen.phases() == [WHOLE - {"data"}] * 3
    assert [(step.samples, step.epoch) for step in seen.timer.log.steps] == [(5, 1)] * 3


def test_a_pass_that_raises_raises_and_the_loop_goes_on(tmp_path: Path) -> None:
    loop = Loop()
    with listening(tmp_path) as seen:
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            loop.model(torch.zeros(2, 7))
        with pytest.raises(RuntimeError, match="does not require grad"):
            torch.zeros(1).backward()  # type: ignore[no-untyped-call]
        loop.train()
    assert seen.phases() == [WHOLE] * 6


class FailsOnce(torch.optim.SGD):
    """SGD that raises in its first step."""

    failed = False

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        if not self.failed:
            self.failed = True
            raise ArithmeticError("no")
        super().step()


def test_a_step_of_an_optimizer_that_raises_is_no_step(tmp_path: Path) -> None:
    loop = Loop()
    loop.optimizer = FailsOnce(loop.model.parameters(), lr=0.1)
    with listening(tmp_path) as seen:
        with pytest.raises(ArithmeticError):
            loop.train()
        loop.train()
    assert seen.tracker.recorder.steps == 6
    assert seen.phases()[1:] == [WHOLE] * 5


def test_other_threads_do_not_count(tmp_path: Path) -> None:
    loop, other = Loop(), Loop()
    with listening(tmp_path) as seen:
        loop.train()
        thread = threading.Thread(target=other.evaluate)
        thread.start()
        thread.join()
    assert len(seen.timer.log.steps) == 6
    assert seen.names() == []


def test_moving_a_batch_to_another_device_is_transfer(tmp_path: Path) -> None:
    """Moves to "meta", the one other device that every machine has."""
    loop = Loop()
    with listening(tmp_path) as seen:
        torch_hooks.listen_to_transfers(seen.tracker, seen.patches)
        loop.model.to(torch.float32)
        for images, labels in loop.loader:
            images.to("meta")
            images.to(device=torch.device("cpu"))
            images.to(torch.float32)
            labels.to(torch.zeros(1, device="meta"))
            loop.loss(images, labels).backward()  # type: ignore[no-untyped-call]
            loop.optimizer.step()
    assert seen.phases() == [WHOLE | {"transfer"}] * 6


def test_a_compiled_model_is_traced_as_without_hooks(tmp_path: Path) -> None:
    loop = Loop()
    torch.compiler.reset()
    counter = CompileCounter()
    with listening(tmp_path) as seen:
        loop.model = torch.compile(loop.model, backend=counter, fullgraph=True)  # type: ignore[assignment]
        loop.train()
    assert counter.frame_count == 1
    assert seen.phases() == [WHOLE] * 6


def test_augmentation_in_the_loop_is_no_forward_pass(tmp_path: Path) -> None:
    loop, flip = Loop(), nn.Dropout(0.1)
    with listening(tmp_path) as seen:
        for images, labels in loop.loader:
            loop.loss(flip(images), labels).backward()  # type: ignore[no-untyped-call]
            loop.optimizer.step()
    assert seen.phases() == [WHOLE] * 6
