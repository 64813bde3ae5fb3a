"""SageMakerOptions: what `--remote NAME=VALUE` takes for `--on sagemaker`, and the images that follow from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.settings import Seconds, Section, declared, setting

FLAG = "--remote"

_FRAMEWORK = "2.6.0"  # of PyTorch: the oldest that clearsight runs on has images for training and for inference
_PYTHON = "py312"
_GPU = re.compile(r"ml\.[gp]\d")
_INSTANCE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9-]+")

# Accounts that own the images of PyTorch, by region; all other regions have those of the first.
_ACCOUNT = "763104351884"
_ACCOUNTS = {
    "af-south-1": "626614931356",
    "ap-east-1": "871362719292",
    "ap-east-2": "975050140332",
    "ap-northeast-3": "364406365360",
    "ap-south-2": "772153158452",
    "ap-southeast-3": "907027046896",
    "ap-southeast-4": "457447274322",
    "ap-southeast-5": "550225433462",
    "ap-southeast-6": "633930458069",
    "ap-southeast-7": "590183813437",
    "ca-west-1": "204538143572",
    "cn-north-1": "727897471807",
    "cn-northwest-1": "727897471807",
    "eu-central-2": "380420809688",
    "eu-south-1": "692866216735",
    "eu-south-2": "503227376785",
    "il-central-1": "780543022126",
    "me-central-1": "914824155844",
    "me-south-1": "217643126080",
    "mx-central-1": "637423239942",
    "us-gov-east-1": "446045086412",
    "us-gov-west-1": "442386744353",
}


class SageMakerOptions(Section):
    """Options of a submission. Empty texts are looked up: role, bucket and region of the account, image by instance."""

    role: str = setting("", "name or ARN of the role of the job [default: that of the caller]", flag=f"{FLAG} role")
    bucket: str = setting("", "bucket for data and results [default: the one of the SDK]", flag=f"{FLAG} bucket")
    region: str = setting("", "region [default: that of the AWS settings]", flag=f"{FLAG} region")
    instance_type: str = setting(
        "", "instance type [default: ml.g4dn.xlarge, ml.m5.large for endpoints]", flag=f"{FLAG} instance_type"
    )
    instance_count: int = setting(1, "instances of an endpoint", low=1, high=100, flag=f"{FLAG} instance_count")
    volume_gb: int = setting(50, "disk of a training job in GB", low=1, high=16_384, flag=f"{FLAG} volume_gb")
    image: str = setting("", "image of the container [default: PyTorch of AWS]", flag=f"{FLAG} image")
    spot: bool = setting(False, "train on spot instances; an interrupted job continues", flag=f"{FLAG} spot")
    max_run: Seconds = setting(
        86_400.0, "longest time of a training job: seconds, or 90m, 24h", low=60, high=432_000, flag=f"{FLAG} max_run"
    )
    wait: bool = setting(True, "follow the job to its end, and fetch the result", flag=f"{FLAG} wait")
    job_name: str = setting("", "name of the job [default: of the data and the time]", flag=f"{FLAG} job_name")

    @classmethod
    def of(cls, options: Mapping[str, str]) -> SageMakerOptions:
        """Return the options of --remote; raises BadChoice for an unknown name and BadValue for a wrong value."""
        for name in options:
            if name not in declared(cls):
                raise BadChoice(f"{FLAG} {name}", "no such option", got=name, allowed=declared(cls))
        found = cls.parse(options)
        if found.instance_type and not _INSTANCE.fullmatch(found.instance_type):
            problem = "must be an instance type such as ml.g4dn.xlarge"
            raise BadValue(f"{FLAG} instance_type={found.instance_type}", problem)
        return found

    @property
    def training_instance(self) -> str:
        """Instance type of a training job."""
        return self.instance_type or "ml.g4dn.xlarge"

    @property
    def endpoint_instance(self) -> str:
        """Instance type of an endpoint."""
        return self.instance_type or "ml.m5.large"

    def image_uri(self, kind: Literal["training", "inference"], region: str) -> str:
        """Return the URI of the image of a training job or an endpoint."""
        if self.image:
            return self.image
        instance = self.training_instance if kind == "training" else self.endpoint_instance
        processor = "gpu" if _GPU.match(instance) else "cpu"
        domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        host = f"{_ACCOUNTS.get(region, _ACCOUNT)}.dkr.ecr.{region}.{domain}"
        return f"{host}/pytorch-{kind}:{_FRAMEWORK}-{processor}-{_PYTHON}"
