"""Callback of the Hugging Face Trainer: `Trainer(..., callbacks=[DebuggerCallback("runs/mine")])`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from clearsight.core.errors import missing_extra
from clearsight.debugger.callbacks.base import HookCallback, make_callback
from clearsight.debugger.capture.model_inspection import unwrapped
from clearsight.debugger.capture.safe_hook import HookGroup


def DebuggerCallback(out: Path | str, **options: Any) -> Any:  # noqa: N802 - used like the class that it makes
    """Return a callback of `transformers.Trainer`; `callback.hook` is the Hook, once training began.

    options: those of Hook; steps, epochs, batch size and class names come from the trainer and the model's
    configuration where they are not given.
    Loss, logits and labels are those of the model's own outputs. Where the loss is computed outside of the model
    (label smoothing, a loss function of the user's), it is taken from the trainer's log, as often as that is written.
    Raises MissingExtra where transformers is not installed.
    """
    missing = missing_extra("transformers", "huggingface", "the Hugging Face callback")
    return make_callback(HuggingFaceDebugger, ("transformers:TrainerCallback",), missing, out, options)


class HuggingFaceDebugger(HookCallback):
    """Watches from the beginning of `train` to its end."""

    def __init__(self, out: Path | str, options: Mapping[str, Any]) -> None:
        super().__init__(out, options)
        self._hooks = HookGroup()
        self._has_loss = False  # the model computes its loss itself

    def on_train_begin(self, args: Any, state: Any, control: Any, **values: Any) -> None:
        model, optimizer = values["model"], values.get("optimizer")
        # accelerate wraps the optimizer, and the wrapper runs no hooks.
        self.start(_planned(args, state, model), model, optimizer=getattr(optimizer, "optimizer", optimizer))
        self._hooks.attach(unwrapped(model)[0].register_forward_hook, self._on_output, with_kwargs=True)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **values: Any) -> None:
        self.start_epoch(int(state.epoch or 0) + 1)  # a float that counts parts of epochs, None before the first

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **values: Any) -> None:
        if self.hook is None or self._has_loss or not isinstance(logs, Mapping):
            return
        for name in ("loss", "eval_loss"):
            if name in logs:
                self.hook.save_scalar("loss", logs[name])

    def on_train_end(self, args: Any, state: Any, control: Any, **values: Any) -> None:
        self._hooks.remove()
        self.close()

    def _on_output(self, module: nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
        if self.hook is None or not isinstance(output, Mapping) or self.hook.replaying:
            return
        loss = output.get("loss")
        if isinstance(loss, Tensor):
            self._has_loss = True
            self.hook.record(loss=loss, logits=output.get("logits"), labels=kwargs.get("labels"))


def _planned(args: Any, state: Any, model: nn.Module) -> dict[str, Any]:
    names = getattr(getattr(model, "config", None), "id2label", None) or {}
    steps = max(0, int(state.max_steps or 0))
    # A max_steps above 0 overrides the number of epochs.
    epochs = int(args.num_train_epochs) if args.max_steps <= 0 else 0
    return {
        "steps": steps,
        "epochs": epochs if steps else 0,
        "batch_size": args.train_batch_size * args.gradient_accumulation_steps,
        "classes": tuple(str(names[key]) for key in sorted(names)),
    }
