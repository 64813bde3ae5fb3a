"""Hook: what is recorded, under which names and steps; the same script with smdebug 1.0.34 gives the same."""

from __future__ import annotations

import copy
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import smdebug.pytorch as smd
from smdebug.exceptions import (
    InvalidCollectionConfiguration,
    SMDebugRuntimeError,
    SMDebugTypeError,
    SMDebugValueError,
    TensorUnavailableForStep,
)
from tests.sagemaker.smdebug.conftest import Batches


class Net(nn.Module):
    """A convolution, a ReLU, and a classifier whose last layer is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.fc = nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Linear(72, 2)
        self.fixed = nn.Linear(2, 2).requires_grad_(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fixed(self.fc(self.relu(self.conv(images)).flatten(1)))  # type: ignore[no-any-return]


def train(hook: smd.Hook, model: nn.Module, batches: Batches, loss: Any = None) -> None:
    hook.set_mode(smd.modes.TRAIN)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for images, labels in batches:
        optimizer.zero_grad()
        (loss or nn.CrossEntropyLoss())(model(images), labels).backward()
        optimizer.step()


def evaluate(hook: smd.Hook, model: nn.Module, batches: Batches, loss: Any = None) -> None:
    hook.set_mode(smd.modes.EVAL)
    with torch.no_grad():
        for images, labels in batches:
            (loss or nn.CrossEntropyLoss())(model(images), labels)


def configured(folder: Path, config: dict[str, Any]) -> smd.Hook:
    path = folder / "debughookconfig.json"
    path.write_text(json.dumps({"LocalPath": str(folder / "tensors"), **config}))
    return smd.Hook.create_from_json_file(str(path))


def sentences(folder: Path) -> list[str]:
    found: list[str] = json.loads((folder / "saved_steps.json").read_text())["sentences"]
    return found


def test_names_steps_and_values_are_those_of_smdebug(tmp_path: Path, batches: Batches) -> None:
    names = ["weights", "biases", "gradients", "activations"]
    hook = smd.Hook(str(tmp_path / "t"), save_config=smd.SaveConfig(save_interval=3), include_collections=names)
    hook.get_collection("activations").include("relu_output|Loss_input")
    model, loss = Net(), nn.CrossEntropyLoss()
    hook.register_module(model)
    hook.register_loss(loss)
    weight = model.conv.weight.detach().clone()
    train(hook, model, batches, loss)
    evaluate(hook, model, batches, loss)
    assert (hook.step, hook.mode_steps[smd.modes.TRAIN], hook.mode_steps[smd.modes.EVAL]) == (13, 6, 6)
    hook.close()

    trial = smd.create_trial(str(tmp_path / "t"))
    assert trial.steps(mode=smd.modes.TRAIN) == [0, 3, 6]
    assert trial.steps() == [0, 3, 6, 7, 10, 13]
    parameters = ["conv.bias", "conv.weight", "fc.bias", "fc.weight", "fixed.bias", "fixed.weight"]
    outputs = ["CrossEntropyLoss_input_0", "CrossEntropyLoss_input_1", "CrossEntropyLoss_output_0"]
    saved_in_evaluation = [*outputs, *(f"Net_{name}" for name in parameters), "relu_output_0"]
    gradients = [f"gradient/Net_{name}" for name in parameters[:4]]
    assert trial.tensor_names(mode=smd.modes.EVAL) == saved_in_evaluation
    assert trial.tensor_names(mode=smd.modes.TRAIN) == sorted(saved_in_evaluation + gradients)
    assert trial.tensor_names(collection="gradients") == gradients
    # Weights are those from before the update of their step; labels are the loss's second input.
    np.testing.assert_array_equal(trial.tensor("Net_conv.weight").value(0), weight.numpy())
    labels = trial.tensor("CrossEntropyLoss_input_1").value(3, mode=smd.modes.TRAIN)
    assert labels.tolist() == batches[3][1].tolist()
    assert not list((tmp_path / "t").rglob("*.tmp"))


def test_the_interval_of_a_rule_hides_the_training_and_the_log_says_so(
    tmp_path: Path, batches: Batches, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = configured(
        tmp_path,
        {
            "HookParameters": {"train.save_interval": "100", "eval.save_interval": "10"},
            "CollectionConfigurations": [
                {"CollectionName": "losses", "CollectionParameters": {"save_interval": "500"}},
                {"CollectionName": "gradients", "CollectionParameters": {"save_interval": "500"}},
            ],
        },
    )
    model, loss = Net(), nn.CrossEntropyLoss()
    hook.register_loss(loss)
    train(hook, model, batches * 7, loss)
    evaluate(hook, model, (batches * 4)[:25], loss)
    hook.close()
    trial = smd.create_trial(str(tmp_path / "tensors"))
    values = trial.tensor("CrossEntropyLoss_output_0")
    assert (values.steps(mode=smd.modes.TRAIN), values.steps(mode=smd.modes.EVAL)) == ([0], [0])
    expected = (
        "collection losses (read by rules such as LossNotDecreasing): 1 of 25 EVAL steps was saved, because its own "
        "save_interval 500 overrides the hook's 10, which saves 3. Set eval.save_interval on the collection."
    )
    assert expected in sentences(tmp_path / "tensors")
    assert expected in capsys.readouterr().out


def test_a_script_that_registers_the_loss_alone_gets_its_model_recorded(tmp_path: Path, batches: Batches) -> None:
    hook = smd.Hook(str(tmp_path / "t"), include_collections=["gradients"])
    loss = nn.CrossEntropyLoss()
    hook.register_loss(loss)
    # Transforms are modules too, without parameters.
    train(hook, Net(), [(nn.Identity()(images), labels) for images, labels in batches[:1]], loss)
    hook.close()
    names = smd.create_trial(str(tmp_path / "t")).tensor_names(step=0)
    assert {"gradient/Net_conv.weight", "CrossEntropyLoss_output_0"} <= set(names)


def test_loss_functions_are_recorded_and_those_inside_of_loss_modules_are_not(tmp_path: Path, batches: Batches) -> None:
    hook = smd.Hook(str(tmp_path / "t"), save_config=smd.SaveConfig(save_interval=1))

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        value = functional.nll_loss(functional.log_softmax(logits, dim=1), labels)
        hook.record_tensor_value("nll_loss", value)  # some scripts record it themselves
        return value

    model = Net()
    train(hook, model, batches[:2], loss)
    train(hook, model, batches[:2], nn.CrossEntropyLoss())
    hook.close()
    trial = smd.create_trial(str(tmp_path / "t"))
    assert trial.tensor_names(collection="losses") == ["CrossEntropyLoss_output_0", "nll_loss_output_0"]
    assert trial.tensor("nll_loss_output_0").steps() == [0, 1]
    assert trial.tensor("CrossEntropyLoss_output_0").steps() == [2, 3]


def test_explicit_leaves_out_what_the_script_does_not_register(
    tmp_path: Path, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARSIGHT_SMDEBUG", "explicit")
    hook = smd.Hook(str(tmp_path / "t"), include_collections=["gradients"])
    loss = nn.CrossEntropyLoss()
    hook.register_loss(loss)
    with pytest.raises(InvalidCollectionConfiguration):
        train(hook, Net(), batches[:1], loss)
    monkeypatch.setenv("CLEARSIGHT_SMDEBUG", "helpful")
    with pytest.raises(ValueError, match="CLEARSIGHT_SMDEBUG=helpful: no such word"):
        smd.Hook(str(tmp_path / "u"))


def test_an_error_of_a_hook_that_nobody_configured_ends_the_recording_alone(
    tmp_path: Path, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = smd.Hook(str(tmp_path / "t"))
    monkeypatch.setattr(hook.output, "write", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    model = Net()
    train(hook, model, batches)
    assert hook.disabled
    strict = smd.Hook(str(tmp_path / "u"), include_collections=["weights"])
    monkeypatch.setattr(strict.output, "write", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        train(strict, Net(), batches)


def test_models_can_be_copied_and_saved_with_their_hooks(tmp_path: Path, batches: Batches) -> None:
    hook = smd.Hook(str(tmp_path / "t"), include_collections=["weights"])
    model = Net()
    hook.register_module(model)
    train(hook, model, batches[:1])
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    for other in (loaded, copy.deepcopy(model)):
        torch.testing.assert_close(other(batches[0][0]), model(batches[0][0]))
    assert hook.step == 2  # of the model alone, not of its copies


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
def test_models_become_torchscript_and_are_recorded_after_it(tmp_path: Path, batches: Batches) -> None:
    hook = smd.Hook(str(tmp_path / "t"), include_collections=["weights"])
    model = Net()
    train(hook, model, batches[:1])
    scripted = torch.jit.script(model)
    torch.testing.assert_close(scripted(batches[0][0]), model(batches[0][0]))
    assert hook.step == 1


def test_reductions_and_shapes_take_the_place_of_elements(tmp_path: Path, batches: Batches) -> None:
    config = smd.ReductionConfig(reductions=["mean", "std"], abs_norms=["l1"], save_shape=True)
    hook = smd.Hook(str(tmp_path / "t"), reduction_config=config, include_collections=["weights"])
    model = Net()
    weight = model.conv.weight.detach().clone()
    train(hook, model, batches[:1])
    hook.close()
    tensor = smd.create_trial(str(tmp_path / "t")).tensor("Net_conv.weight")
    assert tensor.shape(0) == (2, 1, 3, 3)
    found = {name: float(value) for name, value in tensor.reduction_values(0).items()}
    expected = {("mean", False): weight.mean(), ("std", False): weight.std(), ("l1", True): weight.abs().sum()}
    assert found == pytest.approx({name: float(value) for name, value in expected.items()}, rel=1e-5)
    with pytest.raises(TensorUnavailableForStep, match="Reductions of it were saved"):
        tensor.value(0)


def test_modules_of_a_collection_and_tensorboard(tmp_path: Path, batches: Batches) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    hook = smd.Hook(str(tmp_path / "t"), export_tensorboard=True, include_collections=["weights", "head"])
    model = Net()
    hook.get_collection("head").add_module_tensors(model.fc, inputs=True, outputs=True)
    hook.register_module(model)
    train(hook, model, batches[:1])
    hook.close()
    assert {"fc_input_0", "fc_output_0"} <= set(smd.create_trial(str(tmp_path / "t")).tensor_names())
    board = EventAccumulator(str(tmp_path / "t" / "tensorboard" / "TRAIN")).Reload()
    assert board.Scalars("CrossEntropyLoss_output_0")[0].value == pytest.approx(
        float(smd.create_trial(str(tmp_path / "t")).tensor("CrossEntropyLoss_output_0").value(0)), rel=1e-6
    )
    assert "weights/Net_conv.weight" in board.Tags()["histograms"]


def test_a_hook_follows_the_configuration_of_its_job_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SM_CHANNEL_TRAIN", "s3://somewhere/train")  # as in many notebooks
    monkeypatch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(tmp_path / "debughookconfig.json"))
    assert smd.get_hook(create_if_not_exists=True) is None
    config = {"LocalPath": str(tmp_path / "tensors"), "HookParameters": None, "CollectionConfigurations": None}
    (tmp_path / "debughookconfig.json").write_text(json.dumps(config))
    monkeypatch.setenv("TRAINING_JOB_NAME", "scenes-1")
    assert smd.get_hook() is None
    hook = smd.get_hook(create_if_not_exists=True)
    assert hook is not None
    assert hook is smd.get_hook()
    assert hook.include_collections == ["losses"]
    hook.save_scalar("before", 1.0)
    hook.close()
    # In a job the platform marks the end, when all files have arrived.
    assert not (tmp_path / "tensors" / "training_job_end.ts").exists()
    smd.del_hook()
    monkeypatch.setenv("USE_SMDEBUG", "false")
    assert smd.get_hook(create_if_not_exists=True) is None
    monkeypatch.delenv("USE_SMDEBUG")
    (tmp_path / "debughookconfig.json").write_text("{")
    assert smd.get_hook(create_if_not_exists=True) is None


def test_steps_go_on_after_a_restart_from_a_checkpoint(
    tmp_path: Path, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    (tmp_path / "checkpoint.json").write_text(json.dumps({"LocalPath": str(checkpoints)}))
    monkeypatch.setenv("CHECKPOINT_CONFIG_FILE_PATH", str(tmp_path / "checkpoint.json"))
    first = smd.Hook(str(tmp_path / "t"))
    model = Net()
    train(first, model, batches[:3])
    torch.save(model.state_dict(), checkpoints / "model.pth")
    train(first, model, batches[:1])
    smd.del_hook()
    second = smd.Hook(str(tmp_path / "t2"))
    assert (second.step, second.mode_steps[smd.modes.TRAIN]) == (2, 2)


def test_wrong_calls_are_refused(tmp_path: Path) -> None:
    hook = smd.Hook(str(tmp_path / "t"), include_collections=["weights"])
    with pytest.raises(SMDebugTypeError, match="the value has 2 elements"):
        hook.save_scalar("accuracy", [1, 2])
    with pytest.raises(SMDebugValueError, match=r"Allowed: modes\.TRAIN"):
        hook.set_mode("train")  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="must be a loss module"):
        hook.register_loss(Net())
    model = Net()
    hook.register_module(model)
    with pytest.raises(AssertionError, match="twice"):
        hook.register_module(model)
    hook.close()
    with pytest.raises(SMDebugRuntimeError, match="already exists"):
        smd.Hook(str(tmp_path / "t"))
    assert os.listdir(tmp_path) == ["t"]


def test_torch_is_left_as_it_was(tmp_path: Path, batches: Batches) -> None:
    functions = {name: getattr(functional, name) for name in dir(functional) if name.endswith(("loss", "entropy"))}
    call = nn.CrossEntropyLoss.__call__
    hook = smd.Hook(str(tmp_path / "t"))
    assert functional.nll_loss is not functions["nll_loss"]
    train(hook, Net(), batches[:1])
    smd.del_hook()
    assert {name: getattr(functional, name) for name in functions} == functions
    assert nn.CrossEntropyLoss.__call__ is call
    assert not torch.nn.modules.module._global_forward_pre_hooks


@pytest.mark.parametrize(("include_workers", "writes"), [("one", False), ("all", True)])
def test_the_second_worker_writes_where_all_do(
    include_workers: str, writes: bool, tmp_path: Path, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smdebug.pytorch.hook._workers", lambda: (2, "worker_1"))
    hook = smd.Hook(str(tmp_path / "t"), include_workers=include_workers)
    train(hook, Net(), batches[:1])
    hook.close()
    names = sorted(file.name for file in (tmp_path / "t").rglob("*worker_1*"))
    files = ["000000000000_worker_1.json", "000000000000_worker_1.tfevents", "worker_1_collections.json"]
    assert names == (files if writes else [])
    assert not list((tmp_path / "t").rglob("*worker_0*"))


def test_lazy_modules_are_recorded_once_they_have_a_shape(tmp_path: Path, batches: Batches) -> None:
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    hook = smd.Hook(str(tmp_path / "t"), save_all=True, save_config=smd.SaveConfig(save_interval=1))
    hook.register_module(model)
    for images, labels in batches[:2]:
        nn.CrossEntropyLoss()(model(images), labels).backward()
    hook.close()
    trial = smd.create_trial(str(tmp_path / "t"))
    assert trial.tensor("gradient/Sequential_1.weight").steps() == [0, 1]
    assert trial.tensor("Sequential_1.weight").steps() == [1]  # before the first forward pass it has no value
