"""Probe: what it records of a model under training, and when."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clearsight.core.tensors import STATISTICS, PredictionRecord, RawTensor, SavedRecord, Snapshot
from tests.debugger.capture.probing import of_kind, probe_of, train
from tests.debugger.networks import batches, hooks_on, network, same_state, sgd

SAMPLED = {"input_hashes", "image_statistics", "features", "thumbnails"}  # read at steps of their own


def test_a_snapshot_has_every_tensor_in_the_order_of_the_model() -> None:
    records: list[SavedRecord] = []
    model = network()
    optimizer = sgd(model)
    probe = probe_of(records, every=5)
    with probe.attach(model, optimizer):
        train(model, optimizer, probe)
    snapshots = of_kind(records, Snapshot)
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
    probe = probe_of(records, every=1, requests=["weights", "gradients", "updates"])
    with probe.attach(model, optimizer):
        train(model, optimizer, probe, steps=1)
    raw = {record.name: record.value for record in of_kind(records, RawTensor)}
    np.testing.assert_array_equal(raw["6.weight"], before["6.weight"].numpy())
    np.testing.assert_allclose(raw["update/6.weight"], -0.5 * raw["gradient/6.weight"], atol=1e-6)
    snapshot = of_kind(records, Snapshot)[0]
    row = snapshot.table[snapshot.names.index("gradient/6.weight")]
    assert row[STATISTICS.index("l2")] == pytest.approx(np.linalg.norm(raw["gradient/6.weight"]), rel=1e-5)


def test_an_activation_is_read_before_the_next_layer_overwrites_it() -> None:
    records: list[SavedRecord] = []
    model = network()
    optimizer = sgd(model)
    probe = probe_of(records)
    with probe.attach(model, optimizer):
        train(model, optimizer, probe, steps=1)
    snapshot = of_kind(records, Snapshot)[0]
    low = dict(zip(snapshot.names, snapshot.table[:, STATISTICS.index("min")], strict=True))
    assert low["activation/1"] < 0  # the ReLU after it works in place
    assert low["activation/2"] == 0


def test_a_layer_called_twice_has_two_activations() -> None:
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
        probe.begin_step(1, 1)
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()
        probe.end_step()
    names = [name for name in of_kind(records, Snapshot)[0].names if name.startswith("activation")]
    assert names == ["activation/fc", "activation/act", "activation/fc:1", "activation/act:1"]


def test_frozen_parameters_have_no_gradients_and_no_updates() -> None:
    records: list[SavedRecord] = []
    model = network()
    model[0].requires_grad_(False)
    optimizer = sgd(model)
    probe = probe_of(records)
    with probe.attach(model, optimizer):
        train(model, optimizer, probe, steps=1)
    names = of_kind(records, Snapshot)[0].names
    assert "0.weight" in names
    assert not {"gradient/0.weight", "update/0.weight"} & set(names)


def test_of_accumulated_batches_the_first_is_read_and_all_have_predictions() -> None:
    records: list[SavedRecord] = []
    model = network()
    optimizer = sgd(model)
    probe = probe_of(records)
    with probe.attach(model, optimizer):
        train(model, optimizer, probe, steps=2, micro=3)
    assert len(of_kind(records, PredictionRecord)) == 6
    assert not [name for name in of_kind(records, Snapshot)[0].names if ":1" in name]


def test_the_gradient_norm_comes_with_every_step_and_the_rest_with_due_ones() -> None:
    model = network()
    optimizer = sgd(model)
    probe = probe_of([], every=4, planned_steps=12)
    with probe.attach(model, optimizer):
        scalars = train(model, optimizer, probe)
    assert all(np.isfinite(values["grad_norm"]) for values in scalars)
    assert [i for i, values in enumerate(scalars, 1) if "update_ratio" in values] == [1, 4, 8, 12]
    assert scalars[0]["stale_gradient"] == 0
    assert 1 <= sum("eval_mode_loss" in values for values in scalars) <= 10


def test_the_update_ratio_is_that_of_all_weights_together() -> None:
    model = network()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = sgd(model)
    for depth in ("full", "light"):  # all of these tensors are smaller than the sample
        probe = probe_of([], depth)
        with probe.attach(model, optimizer):
            before = [p.detach().clone() for p in model.parameters()]
            scalars = train(model, optimizer, probe, steps=1)
        change = torch.cat([(p - b).detach().flatten() for p, b in zip(model.parameters(), before, strict=True)]).norm()
        whole = torch.cat([b.flatten() for b in before]).norm()
        assert scalars[0]["update_ratio"] == pytest.approx(float(change / whole), rel=1e-4)


def test_a_gradient_that_was_not_cleared_is_measured() -> None:
    model = network()
    optimizer = sgd(model)
    probe = probe_of([], every=3)
    with probe.attach(model, optimizer):
        scalars = train(model, optimizer, probe, steps=6, clear=False)
    assert scalars[0]["stale_gradient"] == 0
    assert scalars[2]["stale_gradient"] > 0


def test_modes_are_compared_on_the_same_images() -> None:
    model = network()
    model[3].p = 0.0
    inputs, labels = next(batches(1, size=64))
    optimizer = sgd(model)
    probe = probe_of([], every=1)
    with probe.attach(model, optimizer):
        probe.begin_step(8, 1)  # the first step that is compared
        logits = model(inputs)
        probe.record_predictions(logits, labels)
        expected = nn.functional.cross_entropy(logits[:32], labels[:32]).item()
        frozen = copy.deepcopy(model).eval()
        nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()
        scalars = probe.end_step()
    assert scalars["train_mode_loss"] == pytest.approx(expected, rel=1e-5)
    evaluated = nn.functional.cross_entropy(frozen(inputs[:32]), labels[:32]).item()
    assert scalars["eval_mode_loss"] == pytest.approx(evaluated, rel=1e-5)


def test_inputs_and_outputs_are_saved_as_small_tables() -> None:
    records: list[SavedRecord] = []
    model = network()
    optimizer = sgd(model)
    probe = probe_of(records)
    with probe.attach(model, optimizer):
        train(model, optimizer, probe, steps=1)
    raw = {record.name: record.value for record in of_kind(records, RawTensor)}
    inputs = next(batches(1))[0].numpy()
    np.testing.assert_allclose(raw["input_channels"][:, 0], inputs.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(raw["input_channels"][:, 1], inputs.std((0, 2, 3)), rtol=1e-5)
    assert raw["output_range"].shape == (4,)
    assert raw["output_range"][0] < raw["output_range"][1]


def test_predictions_are_recorded_with_their_confidence() -> None:
    records: list[SavedRecord] = []
    probe = probe_of(records)
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, 0.0]])
    probe.begin_step(1, 1)
    probe.record_predictions(logits, torch.tensor([0, 0, -100]), [7, 8, 9])
    (outcome,) = of_kind(records, PredictionRecord)
    assert outcome.labels.tolist() == [0, 0]  # a negative label means: leave it out
    assert outcome.predictions.tolist() == [0, 1]
    assert outcome.indices.tolist() == [7, 8]
    np.testing.assert_allclose(outcome.true_probability, logits.softmax(1)[:2, 0].numpy(), rtol=1e-6)


def test_arrays_are_predictions_too_and_what_is_no_classification_is_ignored() -> None:
    records: list[SavedRecord] = []
    probe = probe_of(records)
    probe.begin_evaluation(2, 40)
    probe.record_predictions(np.eye(3, dtype=np.float32), np.arange(3), np.arange(3))
    probe.record_predictions(torch.zeros(3, 5, 8, 8), torch.zeros(3, 8, 8))
    (outcome,) = of_kind(records, PredictionRecord)
    assert (outcome.at.mode, outcome.at.epoch, outcome.at.train_step) == ("eval", 2, 40)
    assert probe.guard.failure is None


def test_whole_tensors_are_saved_on_their_own_schedule() -> None:
    records: list[SavedRecord] = []
    model = network()
    optimizer = sgd(model)
    words = ["gradients@every=50,start=3,end=4", "6.bias$@steps=2", "labels@epoch", "outputs@steps=4", "inputs@steps=4"]
    probe = probe_of(records, every=100, requests=words)
    with probe.attach(model, optimizer):
        train(model, optimizer, probe, steps=6)
    saved = {(record.at.step, record.name) for record in of_kind(records, RawTensor) if record.at.step > 1}
    gradients = {(3, f"gradient/{name}") for name, _ in model.named_parameters()}
    saved = {(step, name) for step, name in saved if name not in SAMPLED}
    others = {(2, "6.bias"), (2, "gradient/6.bias"), (2, "update/6.bias"), (4, "output"), (4, "input")}
    assert saved == gradients | others
    assert [r.at.step for r in of_kind(records, RawTensor) if r.name == "labels"] == [1]


def test_activations_of_an_evaluation_can_be_saved() -> None:
    records: list[SavedRecord] = []
    model = network().eval()
    probe = probe_of(records, requests=["activations@steps=2,mode=eval"])
    with probe.attach(model):
        probe.begin_evaluation(1, 10)
        for inputs, _ in batches(3):
            model(inputs)
    saved = [record for record in of_kind(records, RawTensor) if record.name not in SAMPLED]
    assert {(r.at.mode, r.at.step, r.at.train_step) for r in saved} == {("eval", 2, 10)}
    assert len(saved) == 7


def test_without_an_optimizer_gradients_are_read_as_they_arise() -> None:
    records: list[SavedRecord] = []
    model = network()
    probe = probe_of(records, every=1)
    with probe.attach(model):
        for step, (inputs, labels) in enumerate(batches(3), 1):
            probe.begin_step(step, 1)
            nn.functional.cross_entropy(model(inputs), labels).backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= 0.1 * parameter.grad
                    parameter.grad = None
            assert "update_ratio" in probe.end_step()
    names = of_kind(records, Snapshot)[-1].names
    assert {"6.weight", "gradient/6.weight", "update/6.weight", "activation/6"} <= set(names)
    assert hooks_on(model) == 0


def test_an_optimizer_step_with_a_closure_is_recorded() -> None:
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
        probe.begin_step(1, 1)
        optimizer.step(closure)
        scalars = probe.end_step()
    assert scalars["grad_norm"] > 0
    assert {"gradient/6.weight", "update/6.weight"} <= set(of_kind(records, Snapshot)[0].names)


def test_a_compiled_model_is_observed_from_outside() -> None:
    records: list[SavedRecord] = []
    states = []
    for probe in (None, probe_of(records, every=2)):
        model = network()
        model[3].p = 0.0
        compiled = torch.compile(model, backend="eager")
        optimizer = sgd(model)
        with probe.attach(compiled, optimizer) if probe else nullcontext():
            scalars = train(compiled, optimizer, probe, steps=4)
        states.append(model)
    assert same_state(*states)
    names = of_kind(records, Snapshot)[0].names
    assert {"6.weight", "gradient/6.weight", "update/6.weight"} <= set(names)
    assert not [name for name in names if name.startswith("activation")]
    assert not any("eval_mode_loss" in values for values in scalars)
    assert any(record.name == "input_channels" for record in of_kind(records, RawTensor))


def test_another_phase_may_attach_another_model() -> None:
    records: list[SavedRecord] = []
    probe = probe_of(records, every=1)
    for model in (network(), nn.Sequential(nn.Flatten(), nn.Linear(300, 4))):
        optimizer = sgd(model)
        with probe.attach(model, optimizer):
            train(model, optimizer, probe, steps=1)
    assert "6.weight" in of_kind(records, Snapshot)[0].names
    assert "1.weight" in of_kind(records, Snapshot)[1].names
