"""Automatic registration: the model and the losses of a script that registers neither.

SageMaker's images carried a changed torch that registered the first model called, every loss module, and the results of
loss functions. Scripts depend on it: many call `register_loss` alone. Here hooks of torch do the same:
- the first module with parameters that is called while a hook has no module (transforms have none);
- loss modules at their first call;
- loss functions of torch.nn.functional, unless a loss module calls them.
`CLEARSIGHT_SMDEBUG=explicit` leaves all of it out, as on a torch that nobody has changed.
"""

from __future__ import annotations

import functools
import threading
from typing import Any, Callable, Protocol

# Function -> name of its values. `cross_entropy` computed its value by `nll_loss` in the images' versions.
_LOSS_FUNCTIONS = {
    "nll_loss": "nll_loss",
    "cross_entropy": "nll_loss",
    "mse_loss": "mse_loss",
    "l1_loss": "l1_loss",
    "smooth_l1_loss": "smooth_l1_loss",
    "huber_loss": "huber_loss",
    "kl_div": "kl_div_loss",
    "binary_cross_entropy": "binary_cross_entropy_loss",
    "binary_cross_entropy_with_logits": "binary_cross_entropy_with_logits_loss",
    "soft_margin_loss": "soft_margin_loss",
    "multi_margin_loss": "multi_margin_loss",
    "multilabel_margin_loss": "multilabel_margin_loss",
    "multilabel_soft_margin_loss": "multilabel_soft_margin_loss",
    "margin_ranking_loss": "margin_ranking_loss",
    "hinge_embedding_loss": "hinge_embedding_loss",
    "cosine_embedding_loss": "cosine_embedding_loss",
    "triplet_margin_loss": "triplet_margin_loss",
    "poisson_nll_loss": "poisson_nll_loss",
    "gaussian_nll_loss": "gaussian_nll_loss",
    "ctc_loss": "ctc_loss",
}


class RegisteringHook(Protocol):
    """Hook, as automatic registration needs it."""

    has_registered_module: bool

    def register_called_module(self, module: Any, inputs: Any) -> None:
        """Register a module whose forward pass begins."""

    def register_called_loss(self, loss_module: Any) -> None:
        """Register a loss module that is being called, unless it is registered."""

    def record_loss_value(self, name: str, value: Any) -> None:
        """Record the result of a loss function."""


class CurrentHook:
    """The hook of the process, which registers what is called."""

    def __init__(self) -> None:
        self.hook: RegisteringHook | None = None
        self._installed = False
        self._module_handle: Any = None
        self._depth = threading.local()  # loss modules and functions that are running in a thread

    def install(self) -> None:
        """Follow calls of modules and losses from now on. Needs torch; may be called again."""
        if self._installed:
            self._follow_modules()
            return
        import torch.nn.functional
        from torch.nn.modules.loss import _Loss

        self._installed = True
        self._follow_modules()
        original = _Loss.__call__

        @functools.wraps(original)
        def call(loss_module: Any, *args: Any, **kwargs: Any) -> Any:
            if self.hook is not None and not self._level():
                self.hook.register_called_loss(loss_module)
            return self._nested(original, loss_module, *args, **kwargs)

        _Loss.__call__ = call  # type: ignore[method-assign]
        for function, name in _LOSS_FUNCTIONS.items():
            if hasattr(torch.nn.functional, function):
                setattr(torch.nn.functional, function, self._recorded(getattr(torch.nn.functional, function), name))

    def _follow_modules(self) -> None:
        from torch.nn.modules.module import register_module_forward_pre_hook

        if self._module_handle is None:
            self._module_handle = register_module_forward_pre_hook(self._on_module)

    def _on_module(self, module: Any, inputs: Any) -> None:
        import torch
        from torch.nn.modules.loss import _Loss

        hook = self.hook
        if hook is None:
            return
        if hook.has_registered_module:
            # Such a hook makes every call of every module slower: it goes as soon as it has nothing left to do.
            self._module_handle.remove()
            self._module_handle = None
            return
        is_model = not isinstance(module, (_Loss, torch.jit.ScriptModule))
        if is_model and next(module.parameters(), None) is not None:
            hook.register_called_module(module, inputs)

    def _recorded(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Return a loss function that reports its values."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            value = self._nested(function, *args, **kwargs)
            if self.hook is not None and not self._level():
                self.hook.record_loss_value(name, value)
            return value

        return call

    def _nested(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._depth.level = self._level() + 1
        try:
            return function(*args, **kwargs)
        finally:
            self._depth.level -= 1

    def _level(self) -> int:
        return getattr(self._depth, "level", 0)


current = CurrentHook()
