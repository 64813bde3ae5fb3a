"""The hook as a callback of the Hugging Face Trainer: `Trainer(..., callbacks=[DebuggerCallback("runs/mine")])`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from clearsight.core.errors import missing_extra
from clearsight.debugger.capture.model_inspection import unwrapped
from clearsight.debugger.capture.safe_hook import SafeHook
from clearsight.debugger.hook import Hook


def DebuggerCallback(out: Path | str, **options: Any) -> Any:  # noqa: N802 - used like the class that it makes
    """A callback of `transformers.Trainer`; `callback.hook` is the Hook, once training began.

    options: those of Hook; steps, epochs, batch size and class names come from the trainer and the model's
    configuration where they are not given.
    Loss, logits and labels are those of the model's own outputs. Where the loss is computed outside of the model
    (label smoothing, a loss function of one's own), it is taken from the trainer's log, at its pace.
    Raises MissingExtra where transformers is not installed.
    """
    return _debugger(_callback_class())(out, options)


def _debugger(base: Any) -> Any:
    class Debugger(base):  # type: ignore[misc]
        """Watches from the beginning of `train` to its end."""

        def __init__(self, out: Path | str, options: Mapping[str, Any]) -> None:
            super().__init__()
            self.hook: Hook | None = None
            self._out, self._options = out, options
            self._listening, self._heard = ExitStack(), False

        def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            model, optimizer = given["model"], given.get("optimizer")
            self.hook = Hook(self._out, **{**_planned(args, state, model), **self._options})
            self.hook.watch(model, optimizer=getattr(optimizer, "optimizer", optimizer))  # accelerate wraps it
            inner = unwrapped(model)[0]
            self._listening.callback(inner.register_forward_hook(SafeHook(self._answers), with_kwargs=True).remove)

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            if self.hook is not None:
                self.hook.start_epoch(int(state.epoch or 0) + 1)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **given: Any) -> None:
            if self.hook is None or self._heard or not isinstance(logs, Mapping):
                return
            for name in ("loss", "eval_loss"):
                if name in logs:
                    self.hook.save_scalar("loss", logs[name])

        def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            self._listening.close()
            if self.hook is not None:
                self.hook.close()

        def _answers(self, module: nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
            if self.hook is None or not isinstance(output, Mapping) or self.hook.replaying:
                return
            loss = output.get("loss")
            if isinstance(loss, Tensor):
                self._heard = True
                self.hook.record(loss=loss, logits=output.get("logits"), labels=kwargs.get("labels"))

    return Debugger


def _planned(args: Any, state: Any, model: nn.Module) -> dict[str, Any]:
    names = getattr(getattr(model, "config", None), "id2label", None) or {}
    steps = max(0, int(state.max_steps or 0))
    epochs = int(args.num_train_epochs) if args.max_steps <= 0 else 0
    return {
        "steps": steps,
        "epochs": epochs if steps else 0,
        "batch_size": args.train_batch_size * args.gradient_accumulation_steps,
        "classes": tuple(str(names[key]) for key in sorted(names)),
    }


def _callback_class() -> Any:
    try:
        return importlib.import_module("transformers").TrainerCallback
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise
    raise missing_extra("transformers", "huggingface", "the Hugging Face callback")
