"""Hook: two lines in anybody's loop, and the loop does not notice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from clearsight.core.errors import BadChoice, BadValue, NotResumable
from clearsight.core.finding import Finding, Verdict, read_findings
from clearsight.core.rule import Needs, Rule
from clearsight.core.tensors import Event, RawTensor, Scalars, Snapshot
from clearsight.core.view import RunView
from clearsight.debugger.hook import Hook
from clearsight.debugger.storage.saved_run import SavedRun
from tests.debugger.networks import adamw, batches, hooks_on, network, same_state, sgd

STEPS, EPOCHS = 6, 2


class LossSeen(Rule):
    """Found where there is a loss."""

    def needs(self) -> Needs:
        return Needs(points=1)

    def check(self, view: RunView) -> Iterable[Finding]:
        curve = view.scalar("loss")
        assert view.ended
        return [self.found(value=len(curve), threshold=0, steps=(1, len(curve)), cause=f"{len(curve)} losses")]


@pytest.fixture
def hooked(tmp_path: Path) -> Callable[..., Hook]:
    """A quiet hook without rules."""

    def made(**more: Any) -> Hook:
        return Hook(tmp_path / "run", **{"rules": "none", "quiet": True, **more})

    return made


def loop(model: nn.Module, optimizer: torch.optim.Optimizer, loss: nn.Module, *, evaluate: bool = True) -> None:
    """A loop that knows nothing of any hook."""
    for epoch in range(EPOCHS):
        model.train()
        for inputs, labels in batches(STEPS, seed=epoch):
            optimizer.zero_grad()
            loss(model(inputs), labels).backward()
            optimizer.step()
        if evaluate:
            model.eval()
            with torch.no_grad():
                for inputs, labels in batches(3, seed=9):
                    loss(model(inputs), labels)


def watched_loop(hook: Hook, model: nn.Module | None = None, **more: Any) -> nn.Module:
    model, loss = model or network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    with hook.watch(model, loss, optimizer):
        loop(model, optimizer, loss, **more)
    assert hook.failure is None
    assert hooks_on(model, optimizer) + hooks_on(loss) == 0
    return model


def test_two_lines_in_a_loop_save_what_happens(hooked: Callable[..., Hook], tmp_path: Path) -> None:
    hook = hooked(steps=STEPS * EPOCHS)
    watched_loop(hook)
    tape = hook.tape
    assert (tape.done("train"), tape.done("eval")) == (12, 6)
    assert {"loss", "accuracy", "lr", "grad_norm", "update_ratio", "stale_gradient"} <= set(tape.scalars())
    assert tape.rounds().steps.tolist() == [6, 12]
    assert tape.rounds().epochs.tolist() == [1, 2]
    assert np.isfinite(tape.rounds().valid_accuracy).all()
    assert len(tape.outcomes()) == 12 * 8
    assert tape.statistic("l2", "gradients").steps.tolist() == [1, 5, 10]
    trial = SavedRun(tmp_path / "run")
    assert trial.ended
    assert trial.steps("eval") == [1, 2, 3, 4, 5, 6]


def test_what_is_on_disk_is_what_was_on_the_tape(hooked: Callable[..., Hook], tmp_path: Path) -> None:
    hook = hooked()
    watched_loop(hook)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    scalars = [
        (r.at.mode, r.at.step, name, value)
        for r in hook.tape.records
        if isinstance(r, Scalars)
        for name, value in r.values.items()
    ]
    assert [(line["mode"], line["step"], line["name"], line["value"]) for line in lines] == scalars
    assert all("train_step" in line for line in lines if line["mode"] == "eval")
    rest = [record for record in hook.tape.records if not isinstance(record, Scalars)]
    stored = list(SavedRun(tmp_path / "run").store.records())
    assert [(type(r), r.at) for r in stored] == [(type(r), r.at) for r in rest]


@pytest.mark.parametrize("save", ["light", "full"])
@pytest.mark.parametrize("optimizing", [sgd, adamw])
def test_the_weights_are_those_of_the_unwatched_loop(hooked: Callable[..., Hook], save: str, optimizing: Any) -> None:
    alone, watched, loss = network(), network(), nn.CrossEntropyLoss()
    torch.manual_seed(4)
    loop(alone, optimizing(alone), loss)
    optimizer = optimizing(watched)
    torch.manual_seed(4)
    with hooked(save=[save, "gradients"], save_every=2).watch(watched, loss, optimizer) as hook:
        loop(watched, optimizer, loss)
    assert hook.failure is None
    assert same_state(alone, watched)


def test_facts_are_read_off_the_model(hooked: Callable[..., Hook]) -> None:
    hook = hooked(steps=12, epochs=2, classes=("a", "b", "c", "d"), mean=(0.5, 0.5, 0.5), pretrained=True)
    watched_loop(hook)
    facts = hook.tape.facts
    assert (facts.model, facts.optimizer, facts.lr, facts.loss) == ("Sequential", "sgd", 0.05, "CrossEntropyLoss")
    assert (facts.batch_size, facts.steps_per_epoch, facts.weights_mean) == (8, 6, (0.5, 0.5, 0.5))
    assert len(facts.layers) == 7
    assert facts.parameters[-1].head
    assert SavedRun(hook.out).facts == facts


# Which step, which epoch


def test_without_an_optimizer_a_step_is_a_forward_pass_in_train_mode(hooked: Callable[..., Hook]) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    with hooked().watch(model, loss) as hook:
        loop(model, optimizer, loss)
    assert (hook.step, hook.tape.done("eval")) == (12, 6)
    assert hook.tape.scalar("loss").steps.tolist() == list(range(1, 13))
    assert "gradient/6.weight" in hook.tape.names("gradients")


def test_accumulated_batches_are_values_of_one_step(hooked: Callable[..., Hook]) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    with hooked().watch(model, loss, optimizer) as hook:
        for i, (inputs, labels) in enumerate(batches(12), 1):
            (loss(model(inputs), labels) / 3).backward()
            if i % 3 == 0:
                optimizer.step()
                optimizer.zero_grad()
    losses = [r.at.step for r in hook.tape.records if isinstance(r, Scalars) and "loss" in r.values]
    assert losses == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert hook.step == 4
    assert hook.tape.scalar("stale_gradient").values.tolist() == [0.0]


def test_the_rest_of_an_accumulation_is_no_step_and_epochs_go_on(hooked: Callable[..., Hook]) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    with hooked(save_every=1).watch(model, loss, optimizer) as hook:
        for _ in range(2):
            model.train()
            for i, (inputs, labels) in enumerate(batches(5), 1):  # the fifth is left over
                loss(model(inputs), labels).backward()
                if i % 2 == 0:
                    optimizer.step()
                    optimizer.zero_grad()
            model.eval()
            loss(model(inputs), labels)
    assert hook.step == 4
    assert hook.tape.scalar("grad_norm").epochs.tolist() == [1, 1, 2, 2]
    assert hook.tape.statistic("l2", "gradients").steps.tolist() == [1, 2, 3, 4]
    assert hook.tape.done("eval") == 2


def test_an_optimizer_step_counts_whatever_mode_the_model_is_in(hooked: Callable[..., Hook]) -> None:
    model, loss = network().eval(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    with hooked(save_every=1).watch(model, loss, optimizer) as hook:
        for mode in (None, "train"):
            hook.set_mode(mode)  # type: ignore[arg-type]
            for inputs, labels in batches(2):
                optimizer.zero_grad()
                loss(model(inputs), labels).backward()
                optimizer.step()
    assert hook.step == 4
    assert hook.tape.scalar("grad_norm").steps.tolist() == [1, 2, 3, 4]
    assert hook.tape.scalar("loss").steps.tolist() == [3, 4]  # nobody could know of the first two


def test_the_epoch_is_what_is_told(hooked: Callable[..., Hook]) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    with hooked().watch(model, loss, optimizer) as hook:
        for epoch in (1, 2, 5):
            hook.start_epoch(epoch)
            loop(model, optimizer, loss)
    assert sorted(set(hook.tape.scalar("loss").epochs.tolist())) == [1, 2, 5]


def test_the_epoch_follows_from_the_plan(hooked: Callable[..., Hook]) -> None:
    hook = hooked(steps=12, epochs=4)
    watched_loop(hook, evaluate=False)
    assert hook.tape.scalar("loss").epochs.tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]


def test_predictions_are_no_evaluation_and_end_no_epoch(hooked: Callable[..., Hook]) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    with hooked().watch(model, loss, optimizer) as hook:
        loop(model, optimizer, loss, evaluate=False)
        hook.set_mode("predict")
        model.eval()(next(batches(1))[0])
        hook.set_mode(None)
        loop(model, optimizer, loss, evaluate=False)
        assert hook.epoch == 1
    with pytest.raises(BadChoice, match="Did you mean eval"):
        hook.set_mode("evl")  # type: ignore[arg-type]


def test_a_skipped_step_of_a_gradient_scaler_is_no_step(hooked: Callable[..., Hook]) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer, scaler = sgd(model), torch.amp.GradScaler("cpu", init_scale=4.0)
    with hooked().watch(model, loss, optimizer) as hook:
        for i, (inputs, labels) in enumerate(batches(4)):
            optimizer.zero_grad()
            scaled = scaler.scale(loss(model(inputs), labels))
            (scaled * (torch.inf if i == 1 else 1)).backward()
            scaler.step(optimizer)
            scaler.update()
    assert hook.step == 3
    assert hook.failure is None
    assert hook.tape.events("nonfinite") == []  # the scaler's business, and expected


# Losses


def test_several_losses_have_names_and_one_answer(hooked: Callable[..., Hook]) -> None:
    model, losses = network(), {"main": nn.CrossEntropyLoss(), "smooth": nn.CrossEntropyLoss(label_smoothing=0.1)}
    optimizer = sgd(model)
    with hooked().watch(model, losses, optimizer) as hook:
        for inputs, labels in batches(3):
            optimizer.zero_grad()
            logits = model(inputs)
            (losses["main"](logits, labels) + losses["smooth"](logits, labels)).backward()
            optimizer.step()
    assert {"main", "smooth", "accuracy"} <= set(hook.tape.scalars())
    assert len(hook.tape.outcomes()) == 3 * 8


def test_a_list_of_losses_is_numbered(hooked: Callable[..., Hook]) -> None:
    model, one, two = network(), nn.CrossEntropyLoss(), nn.CrossEntropyLoss()
    with hooked().watch(model, [one, two], sgd(model)) as hook:
        inputs, labels = next(batches(1))
        logits = model(inputs)
        one(logits, labels), two(logits, labels)
    assert {"loss", "loss_1"} <= set(hook.tape.scalars())


def test_a_loss_that_is_a_function_is_told(hooked: Callable[..., Hook]) -> None:
    model = network()
    optimizer = sgd(model)
    with hooked().watch(model, optimizer=optimizer) as hook:
        for inputs, labels in batches(3):
            optimizer.zero_grad()
            logits = model(inputs)
            loss = nn.functional.cross_entropy(logits, labels)
            hook.record(loss=loss, logits=logits, labels=labels, indices=np.arange(8))
            loss.backward()
            optimizer.step()
    assert hook.tape.scalar("loss").steps.tolist() == [1, 2, 3]
    assert hook.tape.outcomes().indices.tolist() == [*range(8)] * 3


def test_the_first_nan_is_traced_to_its_layer(hooked: Callable[..., Hook]) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    with hooked().watch(model, loss, optimizer) as hook:
        for i, (inputs, labels) in enumerate(batches(4)):
            if i == 2:
                model[6].bias.data[0] = torch.nan
            optimizer.zero_grad()
            loss(model(inputs), labels).backward()
            optimizer.step()
    (event,) = hook.tape.events("nonfinite")
    assert (event.at.step, event.subject, event.facts["where"]) == (3, "6", "layer")


# What is saved by hand


def test_values_saved_by_hand_are_kept_at_once_whatever_is_due(hooked: Callable[..., Hook], tmp_path: Path) -> None:
    """Seventy epochs of 391 steps and an interval of 50 must give seventy points, not two."""
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    with hooked(save_every=50).watch(model, loss, optimizer) as hook:
        for epoch in range(7):
            for inputs, labels in batches(2):
                optimizer.zero_grad()
                loss(model(inputs), labels).backward()
                optimizer.step()
            hook.save_scalar("epoch_score", epoch / 7)
            hook.save_tensor("confusion", torch.full((2, 2), epoch))
    kept = hook.tape.raw("confusion")
    assert [at.step for at, _ in kept] == [2, 4, 6, 8, 10, 12, 14]
    assert [int(value[0, 0]) for _, value in kept] == list(range(7))
    assert len(hook.tape.scalar("epoch_score")) == 7


def test_large_tensors_go_to_disk_and_not_to_memory(hooked: Callable[..., Hook]) -> None:
    with hooked().watch(network()) as hook:
        hook.save_tensor("large", torch.zeros(600, 600))
    assert hook.tape.raw("large") == []
    stored = [r for r in SavedRun(hook.out).store.records() if isinstance(r, RawTensor)]
    assert stored[0].value.shape == (600, 600)


# The end


def test_the_rules_speak_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hook = Hook(tmp_path / "run", rules=[LossSeen()], steps=12)
    watched_loop(hook)
    assert [(f.rule, f.verdict, f.value) for f in hook.findings] == [("LossSeen", Verdict.FOUND, 12.0)]
    assert [f.rule for f in read_findings(tmp_path / "run" / "findings.jsonl")] == ["LossSeen"]
    told = capsys.readouterr()
    assert told.out == ""
    assert "12 steps planned, sampled statistics every 5 steps: 3 points" in told.err
    assert "LossSeen, steps 1 to 12: 12 losses" in told.err


def test_quiet_prints_nothing(hooked: Callable[..., Hook], capsys: pytest.CaptureFixture[str]) -> None:
    watched_loop(hooked())
    assert capsys.readouterr() == ("", "")


def test_an_exception_of_the_loop_passes_and_what_was_seen_is_kept(hooked: Callable[..., Hook]) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    hook = hooked()

    def broken() -> None:
        with hook.watch(model, loss, optimizer):
            loop(model, optimizer, loss)
            raise KeyError("mine")

    with pytest.raises(KeyError):
        broken()
    assert hooks_on(model, optimizer) == 0
    assert SavedRun(hook.out).steps() == list(range(1, 13))
    assert json.loads((hook.out / "tensors" / "end.json").read_text())["status"] == "failed"


def test_closing_twice_is_fine(hooked: Callable[..., Hook]) -> None:
    hook = hooked()
    watched_loop(hook)
    hook.close()
    hook.close()


# What goes wrong


def test_an_error_of_the_debugger_is_told_once_and_the_training_goes_on(
    hooked: Callable[..., Hook], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone, watched, loss = network(), network(), nn.CrossEntropyLoss()
    torch.manual_seed(4)
    loop(alone, sgd(alone), loss)
    hook, optimizer = hooked(), sgd(watched)
    hook.watch(watched, loss, optimizer)

    def broken(*args: Any) -> None:
        raise OSError("no space")

    monkeypatch.setattr(hook.tape, "add", broken)
    torch.manual_seed(4)
    loop(watched, optimizer, loss)
    hook.close()
    assert isinstance(hook.failure, OSError)
    assert same_state(alone, watched)
    assert hooks_on(watched, optimizer) + hooks_on(loss) == 0
    assert capsys.readouterr().err.count("no space") == 1


def test_a_run_that_is_there_already_is_not_written_over(hooked: Callable[..., Hook]) -> None:
    watched_loop(hooked())
    model = network()
    with pytest.raises(NotResumable, match="Choose another folder"):
        hooked().watch(model)
    assert hooks_on(model) == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"save": "ful"}, "Did you mean full"),
        ({"save": ["gradeints"]}, "Did you mean gradients"),
        ({"workers": "al"}, "Did you mean all"),
        ({"steps": -1}, "0 \\(not known\\) or more"),
        ({"save_every": 0}, "1 or more"),
    ],
)
def test_wrong_arguments_raise_at_once(hooked: Callable[..., Hook], arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises((BadChoice, BadValue), match=problem):
        hooked(**arguments)


def test_a_function_is_no_loss_module_and_a_list_no_model(hooked: Callable[..., Hook]) -> None:
    with pytest.raises(BadValue, match=r"hook.record\(loss="):
        hooked().watch(network(), nn.functional.cross_entropy)  # type: ignore[arg-type]
    with pytest.raises(BadValue, match=r"no torch\.nn\.Module"):
        hooked().watch([network()])  # type: ignore[arg-type]
    with pytest.raises(BadValue, match=r"no torch\.optim\.Optimizer"):
        hooked().watch(network(), optimizer=network().parameters())  # type: ignore[arg-type]


# Compiled and distributed


def test_a_model_compiled_in_place_is_watched_by_its_optimizer(hooked: Callable[..., Hook]) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    model.compile(backend="eager")
    optimizer = sgd(model)
    with hooked().watch(model, loss, optimizer) as hook:
        loop(model, optimizer, loss, evaluate=False)
    assert hook.failure is None
    assert hook.tape.facts.compiled
    assert hook.step == 12
    assert hook.tape.scalar("loss").steps.tolist() == list(range(1, 13))
    assert any(isinstance(record, Snapshot) for record in hook.tape.records)
    assert not any(isinstance(record, Event) for record in hook.tape.records)


_RANK = """
import os
import sys
from pathlib import Path
import torch
from torch import nn
from clearsight.debugger.hook import Hook
from tests.debugger.networks import batches, hooks_on, network, sgd
rank, folder, workers = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
model = nn.parallel.DistributedDataParallel(network())
model.module[3].p = 0.0
optimizer, loss = sgd(model), nn.CrossEntropyLoss()
hook = Hook(folder / "run", workers=workers, rules="none", quiet=True, save_every=2) if workers != "no" else None
if hook:
    hook.watch(model, loss, optimizer)
for inputs, labels in batches(5, seed=rank):
    optimizer.zero_grad()
    loss(model(inputs), labels).backward()
    optimizer.step()
if hook:
    hook.close()
    assert hook.failure is None, hook.failure
    assert hook.step == (5 if rank == 0 or workers == "all" else 0)
assert hooks_on(model.module, optimizer) == 0
torch.save(model.module.state_dict(), folder / f"{rank}.pt")
torch.distributed.barrier()
os._exit(0)  # all is asserted and written; gloo's threads sometimes abort when an interpreter is taken down around them
"""


def on_two_ranks(folder: Path, workers: str) -> dict[str, torch.Tensor]:
    """The weights of rank 0 after training on two processes."""
    folder.mkdir()
    words = [[sys.executable, "-c", _RANK, str(rank), str(folder), workers] for rank in (0, 1)]
    ranks = [subprocess.Popen(w, stderr=subprocess.PIPE, text=True) for w in words]
    for process in ranks:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    state: dict[str, torch.Tensor] = torch.load(folder / "0.pt", weights_only=True)
    return state


def test_of_several_processes_the_first_records_and_all_train_the_same(tmp_path: Path) -> None:
    alone, watched = on_two_ranks(tmp_path / "no", "no"), on_two_ranks(tmp_path / "one", "one")
    assert all(torch.equal(alone[name], watched[name]) for name in alone)
    assert {path.name for path in (tmp_path / "one" / "run").glob("metrics*")} == {"metrics.jsonl"}
    names = SavedRun(tmp_path / "one" / "run").tensor_names(collection="activations")
    assert "activation/6" in names  # by the names of the model, without DistributedDataParallel's


def test_where_all_processes_record_their_files_carry_the_rank(
    hooked: Callable[..., Hook], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearsight.debugger.hook._rank", lambda: 1)
    inert = hooked().watch(network())
    inert.record(loss=1.0)
    inert.save_scalar("mine", 1.0)
    inert.close()
    assert not inert.out.exists()
    hook = hooked(workers="all")
    watched_loop(hook)
    assert {path.name for path in hook.out.iterdir()} == {"metrics.1.jsonl", "tensors"}
    assert SavedRun(hook.out, rank=1).tensor_names(collection="weights")
