"""Probe: sees everything, changes nothing, leaves nothing behind."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clearsight.core.tensors import STATISTICS, Event, PredictionRecord, RawTensor, SavedRecord, SaveSchedule, Snapshot
from clearsight.debugger.capture.probe import Probe
from clearsight.debugger.capture.save_plan import parse_save
from tests.debugger.networks import adamw, batches, hooks_on, network, same_state, sgd

Scalars = dict[str, Tensor | float]


def probe_of(
    records: list[SavedRecord], depth: str = "full", every: int = 5, keep: Sequence[str] = (), **more: int
) -> Probe:
    return Probe({"train": SaveSchedule(every=every)}, depth, parse_save(keep), records.append, **more)  # type: ignore[arg-type]


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    probe: Probe | None,
    *,
    steps: int = 12,
    micro: int = 1,
    clear: bool = True,
    autocast: bool = False,
    spoil: Callable[[int, Tensor, nn.Module], None] = lambda step, inputs, model: None,
) -> list[Scalars]:
    """The training loop of the house in small; returns the scalars of each step."""
    seen: list[Scalars] = []
    data = iter(batches(steps * micro))
    scaler = torch.amp.GradScaler("cpu", enabled=autocast, init_scale=64.0)
    for step in range(1, steps + 1):
        if clear or step == 1:
            optimizer.zero_grad()
        if probe:
            probe.step(step, 1)
        for _ in range(micro):
            inputs, labels = next(data)
            spoil(step, inputs, model)
            with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
                logits = model(inputs)
            if probe:
                probe.answered(logits.detach(), labels)
            loss = nn.functional.cross_entropy(logits.float(), labels) / micro
            scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        if probe:
            seen.append(probe.stepped())
            assert probe.failure is None
    return seen


def of(records: list[SavedRecord], kind: type) -> list[SavedRecord]:
    return [record for record in records if isinstance(record, kind)]


# Nothing changes


@pytest.mark.parametrize("optimizing", [sgd, adamw])
@pytest.mark.parametrize("depth", ["light", "full"])
@pytest.mark.parametrize("more", [{}, {"micro": 2}, {"autocast": True}, {"clear": False}], ids=str)
def test_weights_are_equal_bit_for_bit(optimizing: Callable, depth: str, more: dict) -> None:
    alone, watched = network(), network()
    torch.manual_seed(5)
    train(alone, optimizing(alone), None, **more)
    rng = torch.get_rng_state()
    optimizer = optimizing(watched)
    torch.manual_seed(5)
    probe = probe_of([], depth, every=2, keep=["gradients", "activations"])
    with probe.attach(watched, optimizer):
        train(watched, optimizer, probe, **more)
    assert same_state(alone, watched)
    assert torch.equal(rng, torch.get_rng_state())


def test_weights_are_equal_in_other_memory_layouts_and_with_frozen_layers() -> None:
    states = []
    for probe in (None, probe_of([], every=1)):
        model = network().to(memory_format=torch.channels_last)
        model[0].requires_grad_(False)
        model[1].eval()
        optimizer = adamw(model)
        with probe.attach(model, optimizer) if probe else nullcontext():
            train(model, optimizer, probe)
        states.append(model)
    assert same_state(*states)


@pytest.mark.parametrize("where", ["input", "weight"])
def test_even_a_post_mortem_changes_nothing(where: str) -> None:
    def spoil(step: int, inputs: Tensor, model: nn.Module) -> None:
        if step == 3 and where == "input":
            inputs[0] = torch.nan
        elif step == 3:
            model[6].weight.data[0] = torch.inf

    states = []
    for probe in (None, probe_of([], every=5)):
        model = network()
        optimizer = sgd(model)
        torch.manual_seed(2)
        with probe.attach(model, optimizer) if probe else nullcontext():
            train(model, optimizer, probe, steps=6, spoil=spoil)
        states.append(model)
    assert same_state(*states)


def test_modes_and_gradients_stay_what_they_are() -> None:
    model, inputs = network(), next(batches(1))
    model[1].eval()
    modes = [module.training for module in model.modules()]
    optimizer = sgd(model)
    probe = probe_of([], every=1)
    with probe.attach(model, optimizer):
        probe.step(1, 1)
        logits = model(inputs[0])
        probe.answered(logits.detach(), inputs[1])
        assert [module.training for module in model.modules()] == modes
        assert all(parameter.grad is None for parameter in model.parameters())


# Nothing stays


def test_between_due_steps_only_the_model_as_a_whole_is_hooked() -> None:
    model = network()
    optimizer = sgd(model)
    probe = probe_of([], every=5)
    with probe.attach(model, optimizer):
        train(model, optimizer, probe, steps=7)
        assert hooks_on(model) == 2  # one, and the note that it takes keywords
    assert hooks_on(model, optimizer) == 0


def test_nothing_stays_after_an_exception_in_the_middle_of_a_step() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("mine")

    model = nn.Sequential(nn.Conv2d(3, 2, 1), Broken())
    optimizer = sgd(model)
    probe = probe_of([], every=1)

    def step() -> None:
        with probe.attach(model, optimizer):
            probe.step(1, 1)
            model(torch.zeros(1, 3, 4, 4))

    with pytest.raises(RuntimeError, match="mine"):
        step()
    assert hooks_on(model, optimizer) == 0
    assert probe.failure is None


def test_afterwards_the_model_pickles_copies_and_exports_as_before() -> None:
    model = network()
    before = set(vars(model[0]))
    optimizer = sgd(model)
    probe = probe_of([], every=1)
    with probe.attach(model, optimizer):
        train(model, optimizer, probe, steps=2)
    assert set(vars(model[0])) == before
    assert b"clearsight" not in pickle.dumps(model)
    stream = io.BytesIO()
    torch.save(model.state_dict(), stream)
    same_state(copy.deepcopy(model), model)
    torch.export.export(model.eval(), (torch.zeros(2, 3, 10, 10),))


def test_a_copy_made_while_it_is_watched_is_not_watched() -> None:
    """Loops keep the best model with copy.deepcopy, in the middle of training."""
    records: list[SavedRecord] = []
    model = network()
    optimizer = sgd(model)
    probe = probe_of(records, every=1)
    with probe.attach(model, optimizer):
        train(model, optimizer, probe, steps=2)
        probe.step(3, 1)
        for kept in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            seen = len(records)
            kept(torch.zeros(2, 3, 10, 10))
            assert len(records) == seen


def test_an_error_of_its_own_ends_the_watching_and_not_the_training() -> None:
    failed: list[Exception] = []

    def full(record: SavedRecord) -> None:
        if isinstance(record, Snapshot):
            raise OSError("no space")

    model, alone = network(), network()
    optimizer = sgd(model)
    probe = Probe({"train": SaveSchedule(every=2)}, "full", (), full, failed=failed.append)
    torch.manual_seed(3)
    with probe.attach(model, optimizer):
        for step, (inputs, labels) in enumerate(batches(6), 1):
            probe.step(step, 1)
            optimizer.zero_grad()
            logits = model(inputs)
            probe.answered(logits, labels)
            nn.functional.cross_entropy(logits, labels).backward()
            optimizer.step()
            probe.stepped()
        assert hooks_on(model, optimizer) == 0
    torch.manual_seed(3)
    train(alone, sgd(alone), None, steps=6)
    assert [str(error) for error in failed] == ["no space"]
    assert same_state(alone, model)


def test_an_error_inside_the_optimizers_hooks_does_not_stop_the_optimizer(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    optimizer = sgd(model)
    probe = probe_of([], every=1)

    def broken(*args: object) -> None:
        raise ValueError("mine")

    monkeypatch.setattr(probe, "_see_gradients", broken)
    with probe.attach(model, optimizer):
        probe.step(1, 1)
        inputs, labels = next(batches(1))
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        assert probe.stepped() == {}
        assert isinstance(probe.failure, ValueError)
        assert hooks_on(model, optimizer) == 0


# What it sees


def test_a_snapshot_has_every_tensor_in_the_order_of_the_model() -> None:
    records: list[SavedRecord] = []
    model = network()
    optimizer = sgd(model)
    probe = probe_of(records, every=5)
    with probe.attach(model, optimizer):
        train(model, optimizer, probe)
    snapshots = of(records, Snapshot)
    assert [s.at.step for s in snapshots] == [1, 5, 10]
    first = snapshots[0]
    assert first.names[:3] == ("0.weight", "1.weight", "6.weight")
    assert "gradient/6.bias" in first.names
    assert "update/1.weight" in first.names
    assert first.names[-7:] == tuple(f"activation/{i}" for i in range(7))
    assert first.table.shape == (len(first.names), len(STATISTICS))
    assert first.table.dtype == np.float32
    assert first.histograms is not None


def test_weights_are_those_before_the_step_and_updates_what_the_optimizer_made() -> None:
    records: list[SavedRecord] = []
    model = network()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    probe = probe_of(records, every=1, keep=["weights", "gradients", "updates"])
    with probe.attach(model, optimizer):
        train(model, optimizer, probe, steps=1)
    raw = {record.name: record.value for record in of(records, RawTensor)}
    np.testing.assert_array_equal(raw["6.weight"], before["6.weight"].numpy())
    np.testing.assert_allclose(raw["update/6.weight"], -0.5 * raw["gradient/6.weight"], atol=1e-6)
    snapshot = of(records, Snapshot)[0]
    row = snapshot.table[snapshot.names.index("gradient/6.weight")]
    assert row[STATISTICS.index("l2")] == pytest.approx(np.linalg.norm(raw["gradient/6.weight"]), rel=1e-5)


def test_an_activation_is_seen_before_the_next_layer_overwrites_it() -> None:
    records: list[SavedRecord] = []
    model = network()
    optimizer = sgd(model)
    probe = probe_of(records)
    with probe.attach(model, optimizer):
        train(model, optimizer, probe, steps=1)
    snapshot = of(records, Snapshot)[0]
    low = dict(zip(snapshot.names, snapshot.table[:, STATISTICS.index("min")], strict=True))
    assert low["activation/1"] < 0  # the ReLU after it works in place
    assert low["activation/2"] == 0


def test_a_layer_called_twice_is_seen_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.act = nn.Linear(4, 4), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.fc(self.act(self.fc(x))))

    records: list[SavedRecord] = []
    model = Twice()
    optimizer = sgd(model)
    probe = probe_of(records, every=1)
    with probe.attach(model, optimizer):
        probe.step(1, 1)
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()
        probe.stepped()
    names = [name for name in of(records, Snapshot)[0].names if name.startswith("activation")]
    assert names == ["activation/fc", "activation/act", "activation/fc:1", "activation/act:1"]


def test_frozen_parameters_have_no_gradients_and_no_updates() -> None:
    records: list[SavedRecord] = []
    model = network()
    model[0].requires_grad_(False)
    optimizer = sgd(model)
    probe = probe_of(records)
    with probe.attach(model, optimizer):
        train(model, optimizer, probe, steps=1)
    names = of(records, Snapshot)[0].names
    assert "0.weight" in names
    assert not {"gradient/0.weight", "update/0.weight"} & set(names)


def test_of_accumulated_batches_the_first_is_looked_at_and_all_are_answered() -> None:
    records: list[SavedRecord] = []
    model = network()
    optimizer = sgd(model)
    probe = probe_of(records)
    with probe.attach(model, optimizer):
        train(model, optimizer, probe, steps=2, micro=3)
    assert len(of(records, PredictionRecord)) == 6
    assert not [name for name in of(records, Snapshot)[0].names if ":1" in name]


def test_the_gradient_norm_comes_with_every_step_and_the_rest_with_due_ones() -> None:
    model = network()
    optimizer = sgd(model)
    probe = probe_of([], every=4, planned_steps=12)
    with probe.attach(model, optimizer):
        seen = train(model, optimizer, probe)
    assert all(np.isfinite(scalars["grad_norm"]) for scalars in seen)
    assert [i for i, scalars in enumerate(seen, 1) if "update_ratio" in scalars] == [1, 4, 8, 12]
    assert seen[0]["stale_gradient"] == 0
    assert 1 <= sum("eval_mode_loss" in scalars for scalars in seen) <= 10


def test_the_update_ratio_is_that_of_all_weights_together() -> None:
    model = network()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = sgd(model)
    for depth in ("full", "light"):  # all of these tensors are smaller than the sample
        probe = probe_of([], depth)
        with probe.attach(model, optimizer):
            before = [p.detach().clone() for p in model.parameters()]
            seen = train(model, optimizer, probe, steps=1)
        change = torch.cat([(p - b).detach().flatten() for p, b in zip(model.parameters(), before, strict=True)]).norm()
        whole = torch.cat([b.flatten() for b in before]).norm()
        assert seen[0]["update_ratio"] == pytest.approx(float(change / whole), rel=1e-4)


def test_a_gradient_that_was_not_cleared_is_seen() -> None:
    model = network()
    optimizer = sgd(model)
    probe = probe_of([], every=3)
    with probe.attach(model, optimizer):
        seen = train(model, optimizer, probe, steps=6, clear=False)
    assert seen[0]["stale_gradient"] == 0
    assert seen[2]["stale_gradient"] > 0


def test_modes_are_compared_on_the_same_images() -> None:
    model = network()
    model[3].p = 0.0
    inputs, labels = next(batches(1, size=64))
    optimizer = sgd(model)
    probe = probe_of([], every=1)
    with probe.attach(model, optimizer):
        probe.step(1, 1)
        logits = model(inputs)
        probe.answered(logits, labels)
        expected = nn.functional.cross_entropy(logits[:32], labels[:32]).item()
        frozen = copy.deepcopy(model).eval()
        nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()
        scalars = probe.stepped()
    assert scalars["train_mode_loss"] == pytest.approx(expected, rel=1e-5)
    evaluated = nn.functional.cross_entropy(frozen(inputs[:32]), labels[:32]).item()
    assert scalars["eval_mode_loss"] == pytest.approx(evaluated, rel=1e-5)


def test_inputs_and_outputs_are_told_as_small_tables() -> None:
    records: list[SavedRecord] = []
    model = network()
    optimizer = sgd(model)
    probe = probe_of(records)
    with probe.attach(model, optimizer):
        train(model, optimizer, probe, steps=1)
    raw = {record.name: record.value for record in of(records, RawTensor)}
    inputs = next(batches(1))[0].numpy()
    np.testing.assert_allclose(raw["input_channels"][:, 0], inputs.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(raw["input_channels"][:, 1], inputs.std((0, 2, 3)), rtol=1e-5)
    assert raw["output_range"].shape == (4,)
    assert raw["output_range"][0] < raw["output_range"][1]


def test_outcomes_say_what_was_predicted_and_how_surely() -> None:
    records: list[SavedRecord] = []
    probe = probe_of(records)
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, 0.0]])
    probe.step(1, 1)
    probe.answered(logits, torch.tensor([0, 0, -100]), [7, 8, 9])
    (outcome,) = of(records, PredictionRecord)
    assert outcome.labels.tolist() == [0, 0]  # a negative label means: leave it out
    assert outcome.predictions.tolist() == [0, 1]
    assert outcome.indices.tolist() == [7, 8]
    np.testing.assert_allclose(outcome.true_probability, logits.softmax(1)[:2, 0].numpy(), rtol=1e-6)


def test_arrays_are_answers_too_and_what_is_no_classification_is_ignored() -> None:
    records: list[SavedRecord] = []
    probe = probe_of(records)
    probe.evaluating(2, 40)
    probe.answered(np.eye(3, dtype=np.float32), np.arange(3), np.arange(3))
    probe.answered(torch.zeros(3, 5, 8, 8), torch.zeros(3, 8, 8))
    (outcome,) = of(records, PredictionRecord)
    assert (outcome.at.mode, outcome.at.epoch, outcome.at.train_step) == ("eval", 2, 40)
    assert probe.failure is None


def test_whole_tensors_are_kept_on_their_own_schedule() -> None:
    records: list[SavedRecord] = []
    model = network()
    optimizer = sgd(model)
    keep = ["gradients@every=50,start=3,end=4", "6.bias$@steps=2", "labels@epoch", "outputs@steps=4", "inputs@steps=4"]
    probe = probe_of(records, every=100, keep=keep)
    with probe.attach(model, optimizer):
        train(model, optimizer, probe, steps=6)
    kept = {(record.at.step, record.name) for record in of(records, RawTensor) if record.at.step > 1}
    gradients = {(3, f"gradient/{name}") for name, _ in model.named_parameters()}
    kept = {(step, name) for step, name in kept if name != "input_hashes"}
    others = {(2, "6.bias"), (2, "gradient/6.bias"), (2, "update/6.bias"), (4, "output"), (4, "input")}
    assert kept == gradients | others
    assert [r.at.step for r in of(records, RawTensor) if r.name == "labels"] == [1]


def test_evaluation_activations_can_be_kept() -> None:
    records: list[SavedRecord] = []
    model = network().eval()
    probe = probe_of(records, keep=["activations@steps=2,mode=eval"])
    with probe.attach(model):
        probe.evaluating(1, 10)
        for inputs, _ in batches(3):
            model(inputs)
    kept = [record for record in of(records, RawTensor) if record.name != "input_hashes"]
    assert {(r.at.mode, r.at.step, r.at.train_step) for r in kept} == {("eval", 2, 10)}
    assert len(kept) == 7


def test_without_an_optimizer_gradients_are_seen_as_they_arise() -> None:
    records: list[SavedRecord] = []
    model = network()
    probe = probe_of(records, every=1)
    with probe.attach(model):
        for step, (inputs, labels) in enumerate(batches(3), 1):
            probe.step(step, 1)
            nn.functional.cross_entropy(model(inputs), labels).backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= 0.1 * parameter.grad
                    parameter.grad = None
            assert "update_ratio" in probe.stepped()
    names = of(records, Snapshot)[-1].names
    assert {"6.weight", "gradient/6.weight", "update/6.weight", "activation/6"} <= set(names)
    assert hooks_on(model) == 0


def test_an_optimizer_step_that_computes_the_loss_itself_is_seen() -> None:
    records: list[SavedRecord] = []
    model = network()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2)
    probe = probe_of(records, every=1)
    inputs, labels = next(batches(1))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        return loss

    with probe.attach(model, optimizer):
        probe.step(1, 1)
        optimizer.step(closure)
        scalars = probe.stepped()
    assert scalars["grad_norm"] > 0
    assert {"gradient/6.weight", "update/6.weight"} <= set(of(records, Snapshot)[0].names)


# Where NaN is born


def born(spoil: Callable[[int, Tensor, nn.Module], None], model: nn.Module | None = None) -> Event:
    records: list[SavedRecord] = []
    model = model or network()
    optimizer = sgd(model)
    probe = probe_of(records, every=100)
    with probe.attach(model, optimizer):
        train(model, optimizer, probe, steps=6, spoil=spoil)
    (event,) = of(records, Event)  # once, and never again
    assert event.kind == "nonfinite"
    assert event.at.step == 3
    return event


def test_nan_in_the_input_is_told() -> None:
    event = born(lambda step, inputs, model: inputs[0].fill_(torch.nan) if step == 3 else None)
    assert (event.facts["where"], event.subject) == ("input", "input")


def test_the_layer_that_made_it_is_named() -> None:
    class Root(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sqrt(x - self.shift) if hasattr(self, "shift") else x

    model = network()
    model.insert(4, Root())

    def spoil(step: int, inputs: Tensor, model: nn.Module) -> None:
        if step == 3:
            model[4].shift = 1e9

    event = born(spoil, model)
    assert (event.facts["where"], event.subject) == ("layer", "4")


def test_a_gradient_is_named_where_the_outputs_are_finite() -> None:
    class Bad(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, gradient: Tensor) -> Tensor:
            return gradient * torch.inf

    class Layer(nn.Module):
        on = False

        def forward(self, x: Tensor) -> Tensor:
            return Bad.apply(x) if self.on else x

    model = network()
    model.insert(6, Layer())

    def spoil(step: int, inputs: Tensor, model: nn.Module) -> None:
        model[6].on = step == 3

    event = born(spoil, model)
    assert (event.facts["where"], event.subject) == ("gradient", "gradient/1.bias")


def test_a_loss_that_is_not_finite_is_named_before_its_backward() -> None:
    records: list[SavedRecord] = []
    model = network()
    probe = probe_of(records)
    with probe.attach(model, sgd(model)):
        probe.step(1, 1)
        inputs, labels = next(batches(1))
        probe.answered(model(inputs), labels)
        probe.lost(torch.tensor(torch.nan), "loss_1")
    assert [(event.facts["where"], event.subject) for event in of(records, Event)] == [("loss", "loss_1")]


def test_weights_that_were_infinite_already_name_their_layer() -> None:
    def spoil(step: int, inputs: Tensor, model: nn.Module) -> None:
        if step == 3:
            model[6].weight.data.fill_(torch.inf)

    assert born(spoil).subject == "6"


# Compiled and distributed


def test_a_compiled_model_is_watched_from_outside() -> None:
    records: list[SavedRecord] = []
    states = []
    for probe in (None, probe_of(records, every=2)):
        model = network()
        model[3].p = 0.0
        compiled = torch.compile(model, backend="eager")
        optimizer = sgd(model)
        with probe.attach(compiled, optimizer) if probe else nullcontext():
            seen = train(compiled, optimizer, probe, steps=4)
        states.append(model)
    assert same_state(*states)
    names = of(records, Snapshot)[0].names
    assert {"6.weight", "gradient/6.weight", "update/6.weight"} <= set(names)
    assert not [name for name in names if name.startswith("activation")]
    assert not any("eval_mode_loss" in scalars for scalars in seen)
    assert any(record.name == "input_channels" for record in of(records, RawTensor))


def test_another_phase_may_attach_another_model() -> None:
    records: list[SavedRecord] = []
    probe = probe_of(records, every=1)
    one, two = network(), nn.Sequential(nn.Flatten(), nn.Linear(300, 4))
    for model in (one, two):
        optimizer = sgd(model)
        with probe.attach(model, optimizer):
            train(model, optimizer, probe, steps=1)
    assert "6.weight" in of(records, Snapshot)[0].names
    assert "1.weight" in of(records, Snapshot)[1].names
