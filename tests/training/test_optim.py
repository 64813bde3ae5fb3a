"""The learning rate is a pure function of the step; the optimizer gets what is trainable; averages follow."""

import pytest
import torch
from torch import nn

from clearsight.core.errors import BadData
from clearsight.core.recipe import OptimSection
from clearsight.training.optim import AveragedWeights, build_optimizer, rate, set_rate


def rates(section: OptimSection, steps: int = 100) -> list[float]:
    return [rate(step, steps, 10, section) for step in range(steps)]


def test_cosine_warms_up_to_the_peak_and_falls_towards_zero() -> None:
    found = rates(OptimSection(lr=1.0, warmup=0.1))
    assert found[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert found[10] == 1.0
    assert found[10:] == sorted(found[10:], reverse=True)
    assert found[-1] < 0.001


def test_constant_and_step() -> None:
    assert set(rates(OptimSection(lr=0.3, schedule="constant", warmup=0))) == {0.3}
    found = rates(OptimSection(lr=1.0, schedule="step", step_size=3, gamma=0.1, warmup=0))
    assert found[0] == found[29] == 1.0
    assert found[30] == pytest.approx(0.1)
    assert found[60] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
)
def test_takes_the_recipes_numbers(name: str, kind: type) -> None:
    section = OptimSection.model_validate({"optimizer": name, "weight_decay": 0.2, "eps": 1e-5, "momentum": 0.7})
    weight, bias = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    optimizer = build_optimizer(
        [{"params": [weight], "lr_factor": 0.1}, {"params": [bias], "weight_decay": 0.0}], section
    )
    set_rate(optimizer, 0.5)
    assert isinstance(optimizer, kind)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.5]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.2, 0.0]
    assert optimizer.param_groups[0].get("eps", 1e-5) == 1e-5
    assert optimizer.param_groups[0].get("momentum", 0.7) == 0.7


def test_nothing_trainable_is_one_sentence() -> None:
    frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    with pytest.raises(BadData, match="nothing is trainable"):
        build_optimizer([{"params": [frozen]}], OptimSection())


def test_the_average_follows_slowly_and_copies_counters() -> None:
    live = {"w": torch.zeros(3), "n": torch.tensor(0)}
    average = AveragedWeights(live, decay=0.5)
    live["w"].fill_(1.0)
    live["n"].fill_(7)
    average.update(live)
    assert torch.allclose(average.values["w"], torch.full((3,), 1 - 2 / 11))  # the decay starts at 2/11
    assert average.values["n"] == 7
    for _ in range(50):
        average.update(live)
    assert torch.allclose(average.values["w"], torch.ones(3))


def test_swapping_the_average_is_undone_also_after_a_failure() -> None:
    live = {"w": torch.zeros(3)}
    average = AveragedWeights(live, decay=0.5)
    live["w"].fill_(1.0)

    def fail() -> None:
        with average.swapped(live):
            assert torch.equal(live["w"], torch.zeros(3))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail()
    assert torch.equal(live["w"], torch.ones(3))
