"""Hook: records tensors of a PyTorch training, as smdebug 1.0.34 does.

A step begins with a forward pass of the registered module. Then parameters are saved as they are before the update of
that step; outputs and inputs of modules when they are computed; gradients in the backward pass. Names:

    ResNet_fc.weight               parameters, with the class of the registered module
    gradient/ResNet_fc.weight      their gradients
    layer1.0.relu_output_0         outputs and inputs of a module by its path; the registered module by its class
    CrossEntropyLoss_output_0      losses by their class; several calls in a step count up
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Callable, Sequence

import numpy as np

from smdebug.core import environment
from smdebug.core.collection import CollectionKeys
from smdebug.core.collection_manager import CollectionManager
from smdebug.core.collection_schedule import CollectionSchedule
from smdebug.core.hook import BaseHook, OutputOptions, as_array, disables_on_error, include_names
from smdebug.core.json_config import read_hook_config
from smdebug.core.layout import DEFAULT_WORKER
from smdebug.core.logger import get_logger
from smdebug.core.modes import ModeKeys
from smdebug.core.reduction_config import ALLOWED_NORMS, ReductionConfig, parse_bool
from smdebug.core.reductions import get_numpy_reduction
from smdebug.core.save_config import SaveConfig
from smdebug.exceptions import SMDebugError, SMDebugRuntimeError
from smdebug.profiler.timeline_writer import StepTimeline, TimelineWriter
from smdebug.pytorch.automatic_registration import current
from smdebug.pytorch.clearsight_run import ClearsightRun

GRADIENT_PREFIX = "gradient/"


class Hook(BaseHook):
    """Records a training into `out_dir`, a folder or an s3:// path.

    save_config: steps of every collection, by default each 500th.  reduction_config: numbers in place of tensors.
    include_regex: patterns of tensor names for the collection `default`.  include_collections: saved collections;
    `losses` is always one.  save_all: save every tensor.  include_workers: "one" or "all" of a distributed training.
    export_tensorboard, tensorboard_dir: write scalars and histograms for TensorBoard too.  dry_run: write nothing.
    Raises SMDebugRuntimeError without torch, or where `out_dir` holds a finished training.
    """

    def __init__(
        self,
        out_dir: str | None = None,
        export_tensorboard: bool = False,
        tensorboard_dir: str | None = None,
        dry_run: bool = False,
        reduction_config: ReductionConfig | None = None,
        save_config: Any = None,
        include_regex: Sequence[str] | str | None = None,
        include_collections: Sequence[str] | None = None,
        save_all: bool = False,
        include_workers: str = "one",
    ) -> None:
        if out_dir is None:
            raise SMDebugRuntimeError("Hook: out_dir is missing. Pass a folder or an s3:// path.")
        _require_torch()
        names, manager = include_names(include_collections), CollectionManager()
        if include_regex is not None:
            patterns = [include_regex] if isinstance(include_regex, str) else list(include_regex)
            manager.get(CollectionKeys.DEFAULT).include(patterns)
            names = include_names([*names, CollectionKeys.DEFAULT])
        if save_all:
            manager.get(CollectionKeys.ALL).include(".*")
            names = include_names([*names, CollectionKeys.ALL])
        reductions = reduction_config or ReductionConfig(save_raw_tensor=True)
        schedule = CollectionSchedule(manager, names, SaveConfig.parse(save_config), reductions)
        options = OutputOptions(str(out_dir), export_tensorboard, tensorboard_dir, dry_run, include_workers)
        super().__init__(options, schedule)
        self.has_registered_module = self.has_registered_loss_module = False
        self.module_set: set[Any] = set()
        self._automatic_losses: set[Any] = set()
        self._without_hook: list[tuple[Any, str]] = []
        self._outputs: Counter[str] = Counter()  # tensors of a module in this step, for the number in their names
        self._loss_values: dict[str, Any] = {}  # of loss functions in this step, which the script may record too
        self._run = ClearsightRun(self.out_dir)
        self._timeline = StepTimeline(TimelineWriter(environment.profiler_folder()))
        current.hook = self
        if "explicit" not in environment.choices():
            current.install()

    @classmethod
    def create_from_json_file(cls, json_file_path: str | None = None) -> Hook:
        """Return the hook of a configuration file, by default the job's. Raises FileNotFoundError, SMDebugError."""
        config = read_hook_config(json_file_path)
        get_logger().info(f"Creating hook from json_config at {json_file_path or environment.hook_config_path()}.")
        hook = cls(
            out_dir=config.out_dir,
            export_tensorboard=config.export_tensorboard,
            tensorboard_dir=config.tensorboard_dir,
            reduction_config=config.reduction_config(),
            save_config=config.save_config(),
            include_regex=config.include_regex,
            include_collections=None if config.collections is None else list(config.collections),
            save_all=parse_bool("save_all", config.hook_parameters.get("save_all", False)),
            include_workers=str(config.hook_parameters.get("include_workers", "one")),
        )
        config.configure(hook.collection_manager)
        return hook

    # Registration

    @disables_on_error
    def register_module(self, module: Any) -> None:
        """Record a module and everything in it. Raises SMDebugError, AssertionError for a second registration."""
        import torch

        if not isinstance(module, torch.nn.Module):
            raise SMDebugError(f"register_module({type(module).__name__}): must be a torch.nn.Module.")
        for name, submodule in module.named_modules():
            if submodule in self.module_set and submodule not in self._automatic_losses:
                raise AssertionError(f"Don't register module={module} twice")
            _set_name(submodule, name)
            self.module_set.add(submodule)
        _set_name(module, _class_name(module))
        module.register_forward_pre_hook(self.forward_pre_hook)
        for submodule in module.modules():
            submodule.register_forward_hook(self.forward_hook)
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                self._without_hook.append((parameter, f"{_class_name(module)}_{name}"))
        self._hook_gradients()
        self.has_registered_module = True
        self._run.watch(module)
        shaped = [parameter for parameter in module.parameters() if not _is_lazy(parameter)]
        count = sum(parameter.numel() for parameter in shaped if parameter.requires_grad)
        get_logger().info(f"Total Trainable Params: {count}")

    def _hook_gradients(self) -> None:
        """Record the gradients of parameters that have a shape; those of lazy modules get one in a forward pass."""
        waiting = []
        for parameter, name in self._without_hook:
            if _is_lazy(parameter):
                waiting.append((parameter, name))
            else:
                _add_gradient_hook(parameter, self.backward_hook(name))
        self._without_hook = waiting

    def register_hook(self, module: Any) -> None:
        """Record a module: another name of `register_module`."""
        self.register_module(module)

    @disables_on_error
    def register_loss(self, loss_module: Any) -> None:
        """Record a loss module of torch. Raises AssertionError for another object."""
        from torch.nn.modules.loss import _Loss

        if not isinstance(loss_module, _Loss):
            raise AssertionError(
                f"register_loss({type(loss_module).__name__}): must be a loss module of torch.nn. "
                "Use record_tensor_value for a loss function."
            )
        self.has_registered_loss_module = True
        if loss_module in self._automatic_losses:
            self._automatic_losses.discard(loss_module)  # it is recorded already
            return
        _set_name(loss_module, _class_name(loss_module))
        self.module_set.add(loss_module)
        loss_module.register_forward_hook(self.forward_hook)

    def register_called_module(self, module: Any, inputs: Any) -> None:
        """Register the module whose forward pass begins, and begin its first step."""
        if self.disabled or self._run.replaying:
            return
        get_logger().info(f"{_class_name(module)}: registered at its first call.")
        self.register_module(module)
        # Its hooks are collected before the call that runs now: the one for the beginning is too late.
        self.forward_pre_hook(module, inputs)

    def register_called_loss(self, loss_module: Any) -> None:
        """Register a loss module that is being called, unless it is registered."""
        if not self.disabled and loss_module not in self.module_set:
            self.register_loss(loss_module)
            self._automatic_losses.add(loss_module)

    # Values

    @disables_on_error
    def record_tensor_value(self, tensor_name: str, tensor_value: Any) -> None:
        """Record a tensor as the output of a module named `tensor_name`, such as the value of a loss function."""
        import torch

        if not isinstance(tensor_value, torch.Tensor):
            raise AssertionError(f"record_tensor_value({tensor_name!r}): must be a torch.Tensor.")
        if not self.schedule.prepared and "explicit" not in environment.choices():
            return  # a value from before the first forward pass
        # The script may record what was recorded at the call of the loss function.
        if self._loss_values.get(tensor_name) is not tensor_value:
            self._save_tensors(tensor_name, "_output_", tensor_value)

    @disables_on_error
    def record_loss_value(self, name: str, value: Any) -> None:
        """Record the result of a loss function, in the steps of a registered module alone."""
        import torch

        if self.step >= 0 and self.schedule.prepared and isinstance(value, torch.Tensor) and not self._run.replaying:
            self._loss_values[name] = value
            if self.is_saved_step():
                self._save_tensors(name, "_output_", value)

    def set_mode(self, mode: ModeKeys) -> None:
        """Set the mode of the forward passes that come. Raises SMDebugValueError."""
        if not self.disabled:
            super().set_mode(mode)
            self._run.set_mode(mode)

    def save_scalar(self, name: str, value: Any, sm_metric: bool = False, timestamp: float | None = None) -> None:
        """Save a number under `scalar/{name}`; see BaseHook."""
        if not self.disabled:
            super().save_scalar(name, value, sm_metric, timestamp)
            self._run.save_scalar(name, float(self._as_array(value).reshape(-1)[0]))

    def save_tensor(
        self, tensor_name: str, tensor_value: Any, collections_to_write: str | Sequence[str] = CollectionKeys.DEFAULT
    ) -> None:
        """Stage a tensor for the next saved step; see BaseHook."""
        super().save_tensor(tensor_name, tensor_value, collections_to_write)
        if not self.disabled:
            self._run.save_tensor(tensor_name, tensor_value)

    def close(self) -> None:
        """Write what is left, and the counts; ends clearsight's recording too."""
        super().close()
        if not self.disabled:
            self._timeline.close()
            self._run.close()

    # Hooks of torch

    @disables_on_error
    def forward_pre_hook(self, module: Any, inputs: Any) -> None:
        """Begin a step."""
        if self._run.replaying:
            return
        self._prepare_modules()
        self._outputs.clear()
        self._loss_values.clear()
        if self.begin_step(*_workers()):
            for name, parameter in module.named_parameters():
                if not _is_lazy(parameter):
                    self.save_named(f"{_class_name(module)}_{name}", parameter.data)
        self._timeline.begin(self.mode.name, self.counter.mode_step, module._module_name)

    @disables_on_error
    def forward_hook(self, module: Any, inputs: Any, outputs: Any) -> None:
        """Save inputs and outputs of a module, and what `save_tensor` has staged."""
        if self._run.replaying or (self.step < 0 and "explicit" not in environment.choices()):
            return
        if self._without_hook:
            self._hook_gradients()
        self._timeline.module_done(module._module_name)
        if self.is_saved_step():
            self._save_tensors(module._module_name, "_input_", inputs)
            self._save_tensors(module._module_name, "_output_", outputs)
            self.flush_staged()
            self.last_saved_step = self.step

    def backward_hook(self, tname: str) -> Callable[[Any], None]:
        """Return what saves the gradient of the parameter `tname`."""

        def save_gradient(gradient: Any) -> None:
            self._on_gradient(tname, gradient)

        return save_gradient

    @disables_on_error
    def _on_gradient(self, tname: str, gradient: Any) -> None:
        if self._run.replaying:
            return
        self._timeline.gradient_done()
        if self.is_saved_step() and gradient is not None:
            self.save_named(GRADIENT_PREFIX + tname, gradient)
        self.flush_staged()

    def _prepare_modules(self) -> None:
        """Turn the modules of collections into patterns, once their names are known."""
        if self.schedule.prepared:
            return
        for collection in self.get_collections().values():
            for module, (inputs, outputs) in collection.modules.items():
                for suffix in [*(["_input_"] if inputs else []), *(["_output_"] if outputs else [])]:
                    collection.include(module._module_name + suffix)

    def _save_tensors(self, name: str, suffix: str, tensors: Any) -> None:
        """Save the tensors of a nested list under consecutive numbers; other objects are left out."""
        import torch

        if isinstance(tensors, torch.Tensor):
            number = self._outputs[name + suffix]
            self._outputs[name + suffix] += 1
            self.save_named(f"{name}{suffix}{number}", tensors)
        elif isinstance(tensors, (list, tuple)):
            for tensor in tensors:
                self._save_tensors(name, suffix, tensor)

    def _as_array(self, value: Any) -> np.ndarray:
        import torch

        if not isinstance(value, torch.Tensor):
            return as_array(value)
        tensor = value.detach().cpu()
        tensor = tensor.to_dense() if tensor.layout is not torch.strided else tensor
        # numpy has no bfloat16.
        array: np.ndarray = (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()
        return array

    def _reduce(self, reduction: str, value: Any, is_abs: bool) -> Any:
        import torch

        if not isinstance(value, torch.Tensor):
            return get_numpy_reduction(reduction, value, is_abs)
        tensor = value.detach() if value.is_floating_point() or value.is_complex() else value.detach().float()
        tensor = tensor.abs() if is_abs else tensor
        if reduction in ALLOWED_NORMS:
            return self._as_array(torch.linalg.vector_norm(tensor, int(reduction[1])))
        if reduction in ("std", "variance") and tensor.numel() < 2:
            return self._as_array(tensor.new_tensor(float("nan")))  # torch returns it too, with a warning
        return self._as_array(getattr(tensor, "var" if reduction == "variance" else reduction)())


def _class_name(module: Any) -> str:
    return str(module._get_name())


def _set_name(module: Any, name: str) -> None:
    # On the module, as smdebug does it: copies for several devices must have it too.
    module._module_name = name


def _is_lazy(parameter: Any) -> bool:
    import torch

    return bool(torch.nn.parameter.is_lazy(parameter))


def _add_gradient_hook(parameter: Any, hook: Callable[[Any], None]) -> None:
    parameter.register_hook(hook)


def _require_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise SMDebugRuntimeError(
            "Hook: torch is not installed in this environment. Install it: pip install torch"
        ) from None


def _workers() -> tuple[int, str]:
    """Return the number of workers and the name of this one."""
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size(), f"worker_{torch.distributed.get_rank()}"
    return 1, DEFAULT_WORKER
