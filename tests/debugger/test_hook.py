"""Hook: two lines in a training loop save what happens, judge it, and change nothing in the training."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from clearsight.core.errors import BadChoice, BadValue, NotResumable
from clearsight.core.finding import Finding, Verdict, read_findings
from clearsight.core.rule import Needs, Rule
from clearsight.core.tensors import RawTensor, Scalars
from clearsight.core.view import RunView
from clearsight.debugger.hook import Hook, check_numbers, losses_of, rules_of
from clearsight.debugger.storage.saved_run import SavedRun
from tests.debugger.conftest import MakeHook
from tests.debugger.loops import EPOCHS, STEPS, loop, watched_loop
from tests.debugger.networks import adamw, batches, hooks_on, network, same_state, sgd


class LossSeen(Rule):
    """Found where there is a loss."""

    def needs(self) -> Needs:
        return Needs(points=1)

    def check(self, view: RunView) -> Iterable[Finding]:
        curve = view.scalar("loss")
        assert view.ended
        return [self.found(value=len(curve), threshold=0, steps=(1, len(curve)), cause=f"{len(curve)} losses")]


def test_two_lines_in_a_loop_save_what_happens(make_hook: MakeHook, tmp_path: Path) -> None:
    hook = make_hook(steps=STEPS * EPOCHS)
    watched_loop(hook)
    tape = hook.tape
    assert (tape.done("train"), tape.done("eval")) == (12, 6)
    assert {"loss", "accuracy", "lr", "grad_norm", "update_ratio", "stale_gradient"} <= set(tape.scalars())
    assert tape.evaluations().steps.tolist() == [6, 12]
    assert tape.evaluations().epochs.tolist() == [1, 2]
    assert np.isfinite(tape.evaluations().valid_accuracy).all()
    assert len(tape.predictions()) == 12 * 8
    assert tape.statistic("l2", "gradients").steps.tolist() == [1, 5, 10]
    saved = SavedRun(tmp_path / "run")
    assert saved.ended
    assert saved.steps("eval") == [1, 2, 3, 4, 5, 6]


def test_the_disk_holds_what_the_tape_held(make_hook: MakeHook, tmp_path: Path) -> None:
    hook = make_hook()
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
def test_the_weights_are_those_of_the_unwatched_loop(make_hook: MakeHook, save: str, optimizing: Any) -> None:
    unwatched, watched, loss = network(), network(), nn.CrossEntropyLoss()
    torch.manual_seed(4)
    loop(unwatched, optimizing(unwatched), loss)
    optimizer = optimizing(watched)
    torch.manual_seed(4)
    with make_hook(save=[save, "gradients"], save_every=2).watch(watched, loss, optimizer) as hook:
        loop(watched, optimizer, loss)
    assert hook.failure is None
    assert same_state(unwatched, watched)


def test_the_context_is_read_from_the_model(make_hook: MakeHook) -> None:
    hook = make_hook(steps=12, epochs=2, classes=("a", "b", "c", "d"), mean=(0.5, 0.5, 0.5), pretrained=True)
    watched_loop(hook)
    context = hook.tape.context
    assert (context.model, context.optimizer, context.lr, context.loss) == (
        "Sequential",
        "sgd",
        0.05,
        "CrossEntropyLoss",
    )
    assert (context.batch_size, context.steps_per_epoch, context.weights_mean) == (8, 6, (0.5, 0.5, 0.5))
    assert len(context.layers) == 7
    assert context.parameters[-1].head
    assert SavedRun(hook.out).context == context


# Values saved by hand


def test_values_saved_by_hand_are_saved_at_once_whatever_is_due(make_hook: MakeHook, tmp_path: Path) -> None:
    """Seventy epochs of 391 steps and an interval of 50 must give seventy points, not two."""
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    with make_hook(save_every=50).watch(model, loss, optimizer) as hook:
        for epoch in range(7):
            for inputs, labels in batches(2):
                optimizer.zero_grad()
                loss(model(inputs), labels).backward()
                optimizer.step()
            hook.save_scalar("epoch_score", epoch / 7)
            hook.save_tensor("confusion", torch.full((2, 2), epoch))
    saved = hook.tape.raw("confusion")
    assert [at.step for at, _ in saved] == [2, 4, 6, 8, 10, 12, 14]
    assert [int(value[0, 0]) for _, value in saved] == list(range(7))
    assert len(hook.tape.scalar("epoch_score")) == 7


def test_large_tensors_go_to_disk_and_not_to_memory(make_hook: MakeHook) -> None:
    with make_hook().watch(network()) as hook:
        hook.save_tensor("large", torch.zeros(600, 600))
    assert hook.tape.raw("large") == []
    stored = [r for r in SavedRun(hook.out).store.records() if isinstance(r, RawTensor)]
    assert stored[0].value.shape == (600, 600)


# The end


def test_the_rules_are_asked_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hook = Hook(tmp_path / "run", rules=[LossSeen()], steps=12)
    watched_loop(hook)
    assert [(f.rule, f.verdict, f.value) for f in hook.findings] == [("LossSeen", Verdict.FOUND, 12.0)]
    assert [f.rule for f in read_findings(tmp_path / "run" / "findings.jsonl")] == ["LossSeen"]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "12 steps planned, sampled statistics every 5 steps: 3 points" in printed.err
    assert "LossSeen, steps 1 to 12: 12 losses" in printed.err


def test_quiet_prints_nothing(make_hook: MakeHook, capsys: pytest.CaptureFixture[str]) -> None:
    watched_loop(make_hook())
    assert capsys.readouterr() == ("", "")


def test_an_exception_of_the_loop_passes_and_what_was_recorded_stays(make_hook: MakeHook) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    hook = make_hook()

    def broken() -> None:
        with hook.watch(model, loss, optimizer):
            loop(model, optimizer, loss)
            raise KeyError("mine")

    with pytest.raises(KeyError):
        broken()
    assert hooks_on(model, optimizer) == 0
    assert SavedRun(hook.out).steps() == list(range(1, 13))
    assert json.loads((hook.out / "tensors" / "end.json").read_text())["status"] == "failed"


def test_closing_twice_is_fine(make_hook: MakeHook) -> None:
    hook = make_hook()
    watched_loop(hook)
    hook.close()
    hook.close()


# Errors


def test_an_error_of_the_debugger_is_printed_once_and_the_training_goes_on(
    make_hook: MakeHook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unwatched, watched, loss = network(), network(), nn.CrossEntropyLoss()
    torch.manual_seed(4)
    loop(unwatched, sgd(unwatched), loss)
    hook, optimizer = make_hook(), sgd(watched)
    hook.watch(watched, loss, optimizer)

    def broken(*args: Any) -> None:
        raise OSError("no space")

    monkeypatch.setattr(hook.tape, "add", broken)
    torch.manual_seed(4)
    loop(watched, optimizer, loss)
    hook.close()
    assert isinstance(hook.failure, OSError)
    assert same_state(unwatched, watched)
    assert hooks_on(watched, optimizer) + hooks_on(loss) == 0
    assert capsys.readouterr().err.count("no space") == 1


def test_a_run_that_is_there_already_is_not_written_over(make_hook: MakeHook) -> None:
    watched_loop(make_hook())
    model = network()
    with pytest.raises(NotResumable, match="Choose another folder"):
        make_hook().watch(model)
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
def test_wrong_arguments_raise_at_once(make_hook: MakeHook, arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises((BadChoice, BadValue), match=problem):
        make_hook(**arguments)


def test_a_function_is_no_loss_module_and_a_list_no_model(make_hook: MakeHook) -> None:
    with pytest.raises(BadValue, match=r"hook.record\(loss="):
        make_hook().watch(network(), nn.functional.cross_entropy)  # type: ignore[arg-type]
    with pytest.raises(BadValue, match=r"must be a torch\.nn\.Module"):
        make_hook().watch([network()])  # type: ignore[arg-type]
    with pytest.raises(BadValue, match=r"must be a torch\.optim\.Optimizer"):
        make_hook().watch(network(), optimizer=network().parameters())  # type: ignore[arg-type]


# Arguments


def test_losses_are_named_by_place_or_by_the_caller() -> None:
    first, second = nn.CrossEntropyLoss(), nn.MSELoss()
    assert losses_of(None) == {}
    assert losses_of(first) == {"loss": first}
    assert losses_of([first, second]) == {"loss": first, "loss_1": second}
    assert losses_of({"main": first}) == {"main": first}


def test_a_loss_function_is_refused_with_the_alternative() -> None:
    with pytest.raises(BadValue, match=r"Report the value of a loss function with hook\.record"):
        losses_of(nn.functional.cross_entropy)  # type: ignore[arg-type]


def test_numbers_are_checked() -> None:
    check_numbers("one", None, steps=0)
    with pytest.raises(BadValue, match="steps -1"):
        check_numbers("one", None, steps=-1)
    with pytest.raises(BadChoice, match="Did you mean all"):
        check_numbers("al", None)


def test_a_model_must_be_a_module(make_hook: MakeHook) -> None:
    with pytest.raises(BadValue, match=r"must be a torch\.nn\.Module"):
        make_hook().watch(lambda x: x)  # type: ignore[arg-type]


def test_no_rules_is_a_choice() -> None:
    assert rules_of("none") == []
