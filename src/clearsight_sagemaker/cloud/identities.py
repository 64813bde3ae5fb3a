"""STS: who a client is. There is one account, and every client acts in its role."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

from clearsight_sagemaker.state.service_state import Operation, ServiceState

_SESSION = "local"
_DEFAULT_SECONDS = 3600


def get_caller_identity(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the role of the account as an assumed one: the SDK finds the execution role in it."""
    account = state.account
    arn = f"arn:aws:sts::{account.account}:assumed-role/{account.role}/{_SESSION}"
    return {"UserId": f"AROALOCAL:{_SESSION}", "Account": account.account, "Arn": arn}


def assume_role(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the credentials of the account for any role; nothing is kept apart by roles on one machine."""
    role, session = request["RoleArn"].rpartition("/")[2], request["RoleSessionName"]
    arn = f"arn:aws:sts::{state.account.account}:assumed-role/{role}/{session}"
    identity = {"AssumedRoleId": f"AROALOCAL:{session}", "Arn": arn}
    return {"Credentials": _credentials(state, request), "AssumedRoleUser": identity}


def get_session_token(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the credentials of the account with a token."""
    return {"Credentials": _credentials(state, request)}


def _credentials(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    account = state.account
    return {
        "AccessKeyId": account.access_key,
        "SecretAccessKey": account.secret_key,
        "SessionToken": secrets.token_urlsafe(24),
        "Expiration": time.time() + request.get("DurationSeconds", _DEFAULT_SECONDS),
    }


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("sts", "GetCallerIdentity"): get_caller_identity,
    ("sts", "AssumeRole"): assume_role,
    ("sts", "GetSessionToken"): get_session_token,
}
