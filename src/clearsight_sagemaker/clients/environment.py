"""Environment of client programs: the variables by which unmodified programs reach the service."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from clearsight.core.files import write_text
from clearsight_sagemaker.clients.sdk_config import write_sdk_config
from clearsight_sagemaker.smdebug_folder import SMDEBUG_FOLDER
from clearsight_sagemaker.state.home import ServiceHome

HOOK = Path(__file__).parent / "hook"
# They would lead a client elsewhere, or let it sign with another key.
_REMOVED_NAMES = ("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE")
_REMOVED_PREFIXES = ("AWS_ENDPOINT_URL_", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")


def client_variables(
    home: ServiceHome, url: str, environment: Mapping[str, str], *, fast_polling: bool = False
) -> dict[str, str | None]:
    """Return the variables of a client program; None for one that must not be set.

    url: of the service.  environment: that the program would have without them.
    """
    account = home.account(environment)
    metadata = home.client / "resource-metadata.json"
    write_text(metadata, json.dumps({"ExecutionRoleArn": account.role_arn}) + "\n")
    folders = [str(HOOK), str(SMDEBUG_FOLDER)]
    path = [folder for folder in environment.get("PYTHONPATH", "").split(os.pathsep) if folder not in ("", *folders)]
    hosts = [host for host in environment.get("NO_PROXY", environment.get("no_proxy", "")).split(",") if host]
    without_proxy = ",".join(dict.fromkeys([*hosts, "127.0.0.1", "localhost", "::1"]))
    removed = [name for name in environment if name in _REMOVED_NAMES or name.startswith(_REMOVED_PREFIXES)]
    s3_endpoint = home.address().get("s3_endpoint")
    return {
        **dict.fromkeys(removed),
        "AWS_ENDPOINT_URL": url,
        **({"AWS_ENDPOINT_URL_S3": s3_endpoint} if s3_endpoint else {}),
        "AWS_REGION": account.region,
        "AWS_DEFAULT_REGION": account.region,
        "AWS_ACCESS_KEY_ID": account.access_key,
        "AWS_SECRET_ACCESS_KEY": account.secret_key,
        "AWS_EC2_METADATA_DISABLED": "true",
        # A service that is started again answers after some seconds; by default clients give up in that time. Botocore
        # waits up to 0.05 s before the second attempt and twice as long before each further one, 20 s at most: about a
        # minute for all of them. Older versions have another default mode, without a longest wait.
        "AWS_RETRY_MODE": environment.get("AWS_RETRY_MODE", "standard"),
        "AWS_MAX_ATTEMPTS": environment.get("AWS_MAX_ATTEMPTS", "14"),
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(write_sdk_config(home.client, account.bucket, environment)),
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
        "CLEARSIGHT_SAGEMAKER_URL": url,
        "CLEARSIGHT_SAGEMAKER_METADATA": str(metadata),
        "CLEARSIGHT_FAST_POLLING": "1" if fast_polling else None,
        "PYTHONPATH": os.pathsep.join([*folders, *path]),
        "PATH": _with_aws(home, environment.get("PATH", os.defpath)),
        "NO_PROXY": without_proxy,
        "no_proxy": without_proxy,
    }


def client_environment(
    home: ServiceHome, url: str, environment: Mapping[str, str], *, fast_polling: bool = False
) -> dict[str, str]:
    """Return the whole environment of a client program."""
    variables = client_variables(home, url, environment, fast_polling=fast_polling)
    changed = {**environment, **variables}
    return {name: value for name, value in changed.items() if value is not None}


def _with_aws(home: ServiceHome, path: str) -> str:
    """Return a PATH on which `aws` is found where it is installed beside this program alone."""
    program = Path(sys.executable).parent / "aws"
    if shutil.which("aws", path=path) or not program.is_file():
        return path
    folder = home.client / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "aws"
    if not link.is_file():
        link.unlink(missing_ok=True)
        link.symlink_to(program)
    return os.pathsep.join([path, str(folder)])
