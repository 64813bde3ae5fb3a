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
        self._module_handle: Any = None
        self._replaced: list[tuple[Any, str, Any, Any]] = []  # owner, name, original, replacement
        self._depth = threading.local()  # loss modules and functions that are running in a thread

    def install(self) -> None:
        """Follow calls of modules and losses from now on. Needs torch; may be called again."""
        import torch.jit
        import torch.nn.functional
        from torch.nn.modules.loss import _Loss
        from torch.nn.modules.module import register_module_forward_pre_hook

        if self._module_handle is None:
            self._module_handle = register_module_forward_pre_hook(self._on_module)
        if self._replaced:
            return
        self._replace(_Loss, "__call__", self._registering(_Loss.__call__))
        self._replace(torch.jit, "script", self._scripting(torch.jit.script))
        for function, name in _LOSS_FUNCTIONS.items():
            if hasattr(torch.nn.functional, function):
                original = getattr(torch.nn.functional, function)
                self._replace(torch.nn.functional, function, self._recorded(original, name))

    def _scripting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return torch.jit.script that leaves out the hooks of a model, which it cannot compile."""

        @functools.wraps(original)
        def call(obj: Any, *args: Any, **kwargs: Any) -> Any:
            removed = []
            for module in obj.modules() if hasattr(obj, "modules") and self.hook is not None else ():
                for hooks in (module._forward_hooks, module._forward_pre_hooks):
                    ours = [key for key, hook in hooks.items() if getattr(hook, "__self__", None) is self.hook]
                    removed += [(hooks, key, hooks.pop(key)) for key in ours]
            try:
                return original(obj, *args, **kwargs)
            finally:
                for hooks, key, hook in removed:
                    hooks[key] = hook

        return call

    def uninstall(self) -> None:
        """Leave torch as it was, where nobody has replaced the same functions since."""
        self._stop_following_modules()
        for owner, name, original, replacement in self._replaced:
            if getattr(owner, name) is replacement:
                setattr(owner, name, original)
        self._replaced.clear()

    def _replace(self, owner: Any, name: str, replacement: Any) -> None:
        self._replaced.append((owner, name, getattr(owner, name), replacement))
        setattr(owner, name, replacement)

    def _on_module(self, module: Any, inputs: Any) -> None:
        import torch
        from torch.nn.modules.loss import _Loss

        hook = self.hook
        if hook is None:
            return
        if hook.has_registered_module:
            # Such a hook makes every call of every module slower: it goes as soon as it has nothing left to do.
            self._stop_following_modules()
            return
        is_model = not isinstance(module, (_Loss, torch.jit.ScriptModule))
        if is_model and next(module.parameters(), None) is not None:
            hook.register_called_module(module, inputs)

    def _stop_following_modules(self) -> None:
        if self._module_handle is not None:
            self._module_handle.remove()
            self._module_handle = None

    def _registering(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return the call of a loss module that registers it first."""

        @functools.wraps(original)
        def call(loss_module: Any, *args: Any, **kwargs: Any) -> Any:
            if _is_compiling():
                return original(loss_module, *args, **kwargs)
            if self.hook is not None and not self._level():
                self.hook.register_called_loss(loss_module)
            return self._nested(original, loss_module, *args, **kwargs)

        return call

    def _recorded(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Return a loss function that reports its values."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if _is_compiling():
                return function(*args, **kwargs)
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


def _is_compiling() -> bool:
    """Return True inside of torch.compile, which cannot trace what happens here."""
    import torch

    compiler = getattr(torch, "compiler", None)
    return compiler is not None and hasattr(compiler, "is_compiling") and bool(compiler.is_compiling())


current = CurrentHook()
