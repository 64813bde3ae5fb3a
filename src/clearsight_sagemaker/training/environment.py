"""Variables of a job: the SM_* ones as the training toolkit makes them, and a clean environment around them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight.core.machine import cores
from clearsight.workflow.paths import Paths
from clearsight_sagemaker.smdebug_folder import SMDEBUG_FOLDER
from clearsight_sagemaker.training.channels import Channel
from clearsight_sagemaker.training.container_files import GROUP, HOST, instance_type, resource_config
from clearsight_sagemaker.training.hyperparameters import Hyperparameters, variable
from clearsight_sagemaker.training.job_folder import JobFolder, ServiceSettings
from clearsight_sagemaker.training.user_code import UserCode

RECORDING = "CLEARSIGHT_RECORD_TENSORS"  # variable of a job whose tensors are saved though its script asks for none
_GPU_INSTANCE = re.compile(r"ml\.[gp]\d")
_IMAGE_VERSION = re.compile(r"pytorch-(?:training|inference):(\d+)\.(\d+)")
_SITE = Path(__file__).with_name("job_site")
_FROM_USER = ("LANG", "LC_ALL", "TZ", "XDG_CACHE_HOME", "SSL_CERT_FILE", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")


@dataclass(frozen=True, kw_only=True, slots=True)
class UserEnvironment:
    """Variables of the user that a job inherits, and folders of pretrained weights.

    variables: the whole environment of the process that runs the job; little of it is inherited.
    weights: folders in which files of weights are looked up by their names.
    cache: folder of the user's caches.
    """

    variables: Mapping[str, str]
    weights: Sequence[Path] = ()
    cache: Path = Path("/nonexistent")


def user_environment(environment: Mapping[str, str]) -> UserEnvironment:
    """Return what the process of a job inherits. environment: of that process."""
    paths = Paths.of(environment)
    return UserEnvironment(
        variables=dict(environment),
        weights=(*paths.weights, paths.torch_hub / "checkpoints"),
        cache=paths.cache.parent if "CLEARSIGHT_CACHE" not in environment else Path.home() / ".cache",
    )


def toolkit_variables(
    request: Mapping[str, Any], hyperparameters: Hyperparameters, code: UserCode, channels: Sequence[Channel], ml: str
) -> dict[str, str]:
    """Return the SM_* variables of a script. ml: path of /opt/ml as the job sees it."""
    values = _training_env(request, hyperparameters, code, channels, ml)
    names = {
        **{name: name for name in values},
        "hps": "hyperparameters", "framework_params": "additional_framework_parameters",
    }  # fmt: skip
    left_out = (
        *("channel_input_dirs", "hyperparameters", "additional_framework_parameters", "job_name"),
        *("is_master", "master_hostname", "is_modelparallel_enabled", "distribution_hosts"),
    )
    variables = {f"SM_{name.upper()}": values[source] for name, source in names.items() if name not in left_out}
    variables |= {
        "SM_CHANNELS": sorted(channel.name for channel in channels),
        "SM_TRAINING_ENV": values,
        "SM_USER_ARGS": hyperparameters.arguments(),
        **{f"SM_CHANNEL_{name.upper()}": path for name, path in values["channel_input_dirs"].items()},
        **{f"SM_HP_{name.upper()}": value for name, value in hyperparameters.user.items()},
    }
    return {name: variable(value) for name, value in variables.items()}


def _training_env(
    request: Mapping[str, Any], hyperparameters: Hyperparameters, code: UserCode, channels: Sequence[Channel], ml: str
) -> dict[str, Any]:
    resources = resource_config(request)
    groups = resources["instance_groups"]
    return {
        "additional_framework_parameters": dict(hyperparameters.framework),
        "channel_input_dirs": {channel.name: f"{ml}/input/data/{channel.name}" for channel in channels},
        "current_host": HOST,
        "current_instance_group": GROUP,
        "current_instance_group_hosts": [HOST],
        "current_instance_type": instance_type(request),
        "distribution_hosts": [HOST],
        "distribution_instance_groups": [],
        "framework_module": "sagemaker_pytorch_container.training:main",
        "hosts": [HOST],
        "hyperparameters": dict(hyperparameters.user),
        "input_config_dir": f"{ml}/input/config",
        "input_data_config": {channel.name: channel.to_config() for channel in channels},
        "input_dir": f"{ml}/input",
        "instance_groups": [GROUP],
        "instance_groups_dict": {group["instance_group_name"]: group for group in groups},
        "is_hetero": False,
        "is_master": True,
        "is_modelparallel_enabled": None,
        "job_name": request["TrainingJobName"],
        "log_level": hyperparameters.framework.get("sagemaker_container_log_level", 20),
        "master_hostname": HOST,
        "model_dir": f"{ml}/model",
        "module_dir": code.uri,
        "module_name": code.program.removesuffix(".py"),
        "network_interface_name": resources["network_interface_name"],
        "num_cpus": cores(),
        "num_gpus": gpus(),
        "num_neurons": 0,
        "output_data_dir": f"{ml}/output/data",
        "output_dir": f"{ml}/output",
        "output_intermediate_dir": f"{ml}/output/intermediate",
        "resource_config": resources,
        "user_entry_point": code.program,
    }


def gpus() -> int:
    """Return the number of NVIDIA GPUs of this machine."""
    return len([path for path in Path("/dev").glob("nvidia*") if path.name.removeprefix("nvidia").isdigit()])


def platform_variables(
    folder: JobFolder, request: Mapping[str, Any], service: ServiceSettings, user: UserEnvironment, ml: str
) -> dict[str, str]:
    """Return the whole environment of a job but the SM_* variables. ml: path of /opt/ml as the job sees it.

    Little is inherited: a job must not depend on the shell that the service was started from.
    """
    job, code = request["TrainingJobName"], f"{ml}/code"
    variables = {
        **account_variables(service, user),
        "TRAINING_JOB_NAME": job,
        "TRAINING_JOB_ARN": f"arn:aws:sagemaker:{service.region}:{service.account}:training-job/{job}",
        "SAGEMAKER_JOB_NAME": job,
        "SAGEMAKER_BASE_DIR": ml,
        "SAGEMAKER_METRICS_DIRECTORY": f"{ml}/output/metrics/sagemaker",
        "CURRENT_HOST": HOST,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "7777",
        **_config_paths(folder, ml),
        **service.job_environment,
        **(request.get("Environment") or {}),
    }
    image = request["AlgorithmSpecification"].get("TrainingImage") or ""
    variables |= device_variables(image, instance_type(request), variables)
    if is_recorded_by_image(image, request, folder.ml / "code"):
        variables.setdefault(RECORDING, "1")
    return variables | python_variables(folder, user, code, variables)


def is_recorded_by_image(image: str, request: Mapping[str, Any], code: Path) -> bool:
    """Return True for a job that SageMaker's image would record though its script does not use smdebug.

    The images up to PyTorch 1.11 do so with each hook configuration; here the user must have set something of it.
    """
    version, hook = image_version(image), request.get("DebugHookConfig") or {}
    if version is None or version >= (1, 12):
        return False
    if not (hook.get("HookParameters") or hook.get("CollectionConfigurations")):
        return False
    return not any(b"smdebug" in path.read_bytes() for path in code.rglob("*.py") if path.is_file())


def account_variables(service: ServiceSettings, user: UserEnvironment) -> dict[str, str]:
    """Return what every program of the service inherits: caches, region, keys, address of the service."""
    return {
        **{name: user.variables[name] for name in _FROM_USER if name in user.variables},
        "TORCH_HOME": user.variables.get("TORCH_HOME") or str(user.cache / "torch"),
        "HF_HOME": user.variables.get("HF_HOME") or str(user.cache / "huggingface"),
        "PIP_CACHE_DIR": user.variables.get("PIP_CACHE_DIR") or str(user.cache / "pip"),
        "OMP_NUM_THREADS": str(cores()),
        "SAGEMAKER_REGION": service.region,
        "AWS_REGION": service.region,
        "AWS_DEFAULT_REGION": service.region,
        "AWS_ENDPOINT_URL": service.endpoint_url,
        **({"AWS_ENDPOINT_URL_S3": service.s3_endpoint} if service.s3_endpoint else {}),
        "AWS_ACCESS_KEY_ID": service.access_key,
        "AWS_SECRET_ACCESS_KEY": service.secret_key,
        "CLEARSIGHT_JOB_WEIGHTS": os.pathsep.join(str(path) for path in user.weights),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def device_variables(image: str, instance: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Return what the hooks of torch in a job need to know of its image and its instance type."""
    found = {}
    if _GPU_INSTANCE.match(instance):
        found["CLEARSIGHT_JOB_INSTANCE"] = instance
    if (version := image_version(image)) and version < (2, 6):
        name = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
        found[name] = variables.get(name, "1")
    return found


def python_variables(
    folder: JobFolder, user: UserEnvironment, code: str, variables: Mapping[str, str]
) -> dict[str, str]:
    """Return PATH, HOME and PYTHONPATH of a job. code: folder of its modules.  variables: its other ones."""
    packages = os.pathsep.join([str(_SITE), code, str(SMDEBUG_FOLDER)])
    path = variables.get("PATH") or user.variables.get("PATH") or os.defpath
    programs = (folder.python / "bin", Path(sys.executable).parent)
    return {
        "PATH": os.pathsep.join([*(str(program) for program in programs), path]),
        "HOME": str(folder.home),
        "PYTHONPATH": os.pathsep.join(filter(None, [packages, variables.get("PYTHONPATH", "")])),
        "PYTHONUNBUFFERED": "1",
    }


def _config_paths(folder: JobFolder, ml: str) -> dict[str, str]:
    """Return the variables by which libraries find configuration files that are not in /opt/ml."""
    configs = {
        "SMDEBUG_CONFIG_FILE_PATH": "debughookconfig.json",
        "TENSORBOARD_CONFIG_FILE_PATH": "tensorboardoutputconfig.json",
        "CHECKPOINT_CONFIG_FILE_PATH": "checkpointconfig.json",
        "SMPROFILER_CONFIG_PATH": "profilerconfig.json",
    }
    files = folder.ml / "input" / "config"
    return {name: f"{ml}/input/config/{file}" for name, file in configs.items() if (files / file).is_file()}


def image_version(image: str) -> tuple[int, int] | None:
    """Return the version of PyTorch in the name of an image; None for another image."""
    found = _IMAGE_VERSION.search(image)
    return (int(found[1]), int(found[2])) if found else None
