"""The profiler's rules by name, one file each. Listing the names imports none of them."""

from __future__ import annotations

from clearsight.core.registry import Registry
from clearsight.core.rule import Rule

_PACKAGE = "clearsight.profiler.rules"
_MODULES = {
    # Rules that Amazon SageMaker's profiler has too, under its names.
    "BatchSize": "batch_size",
    "CPUBottleneck": "cpu_bottleneck",
    "Dataloader": "dataloader",
    "GPUMemoryIncrease": "gpu_memory_increase",
    "IOBottleneck": "io_bottleneck",
    "LoadBalancing": "load_balancing",
    "LowGPUUtilization": "low_gpu_utilization",
    "MaxInitializationTime": "max_initialization_time",
    "OverallSystemUsage": "overall_system_usage",
    "OverallFrameworkMetrics": "overall_framework_metrics",
    "StepOutlier": "step_outlier",
    "ProfilerReport": "profiler_report",
    # Rules that it does not have.
    "DataWait": "data_wait",
    "MemoryLeak": "memory_leak",
    "PaddingWaste": "padding_waste",
    "SharedMemoryShort": "shared_memory_short",
    "SlowStorage": "slow_storage",
    "SmallKernels": "small_kernels",
    "ThreadOversubscription": "thread_oversubscription",
}

PROFILER_RULES: Registry[type[Rule]] = Registry(
    "rule",
    {name: f"{_PACKAGE}.{module}:{name}" for name, module in _MODULES.items()},
    group="clearsight.profiler_rules",
)
"""Rules about a run's `profile`; every one has `topic = "speed"`."""
