"""IAM: roles and their policies, which are stored and returned. Nothing is refused by a policy on this machine."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from clearsight_sagemaker.protocols.errors import ServiceError
from clearsight_sagemaker.state.resource_table import Resource, ResourceExists
from clearsight_sagemaker.state.service_state import Operation, ServiceState

_ROLE, _POLICY = "iam-role", "iam-policy"
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def get_role(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a role. That of the account is always there."""
    return {"Role": _description(_role(state, request["RoleName"]))}


def create_role(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Store a role."""
    name, path = request["RoleName"], request.get("Path", "/")
    document = {
        "arn": f"arn:aws:iam::{state.account.account}:role{path}{name}",
        "path": path,
        "trust": request["AssumeRolePolicyDocument"],
        "description": request.get("Description", ""),
        "policies": {},
    }
    if name == state.account.role:
        raise _exists("Role", name)
    try:
        role = state.table.add(Resource(kind=_ROLE, name=name, status="", document=document))
    except ResourceExists:
        raise _exists("Role", name) from None
    return {"Role": _description(role)}


def delete_role(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Remove a role."""
    if not state.table.remove(_ROLE, request["RoleName"]):
        raise _no_such_role(request["RoleName"])


def list_roles(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return all roles."""
    default = _role(state, state.account.role)
    roles = {role.name: role for role in [default, *state.table.every(_ROLE)]}.values()
    prefix = request.get("PathPrefix", "/")
    found = [_description(role) for role in roles if role.document["path"].startswith(prefix)]
    return {"Roles": found, "IsTruncated": False}


def attach_role_policy(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Note a policy at a role."""
    _change_policies(state, request["RoleName"], lambda policies: {**policies, request["PolicyArn"]: ""})


def detach_role_policy(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Remove the note."""
    arn = request["PolicyArn"]
    _change_policies(
        state, request["RoleName"], lambda policies: {name: text for name, text in policies.items() if name != arn}
    )


def list_attached_role_policies(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the policies that were attached to a role."""
    policies = _role(state, request["RoleName"]).document["policies"]
    attached = [{"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn} for arn in policies if arn.startswith("arn:")]
    return {"AttachedPolicies": attached, "IsTruncated": False}


def put_role_policy(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Store a policy in a role."""
    name, text = request["PolicyName"], request["PolicyDocument"]
    _change_policies(state, request["RoleName"], lambda policies: {**policies, name: text})


def create_policy(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Store a policy."""
    name, path = request["PolicyName"], request.get("Path", "/")
    arn = f"arn:aws:iam::{state.account.account}:policy{path}{name}"
    document = {"arn": arn, "text": request["PolicyDocument"]}
    try:
        policy = state.table.add(Resource(kind=_POLICY, name=name, status="", document=document))
    except ResourceExists:
        raise _exists("Policy", name) from None
    facts = {"PolicyName": name, "Arn": arn, "Path": path, "IsAttachable": True, "CreateDate": policy.created}
    return {"Policy": {**facts, "PolicyId": _identity("ANPA", name)}}


def simulate_principal_policy(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Allow every action: SDK v3 asks before it uploads."""
    resources = request.get("ResourceArns") or ["*"]
    results = [
        {"EvalActionName": action, "EvalResourceName": resource, "EvalDecision": "allowed"}
        for action in request["ActionNames"]
        for resource in resources
    ]
    return {"EvaluationResults": results, "IsTruncated": False}


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("iam", "GetRole"): get_role,
    ("iam", "CreateRole"): create_role,
    ("iam", "DeleteRole"): delete_role,
    ("iam", "ListRoles"): list_roles,
    ("iam", "AttachRolePolicy"): attach_role_policy,
    ("iam", "DetachRolePolicy"): detach_role_policy,
    ("iam", "ListAttachedRolePolicies"): list_attached_role_policies,
    ("iam", "PutRolePolicy"): put_role_policy,
    ("iam", "CreatePolicy"): create_policy,
    ("iam", "SimulatePrincipalPolicy"): simulate_principal_policy,
}


def _role(state: ServiceState, name: str) -> Resource:
    role = state.table.get(_ROLE, name)
    if role is None and name == state.account.role:
        document = {"arn": state.account.role_arn, "path": "/", "trust": json.dumps(_TRUST), "policies": {}}
        return Resource(kind=_ROLE, name=name, status="", document=document)
    if role is None:
        raise _no_such_role(name)
    return role


def _description(role: Resource) -> dict[str, Any]:
    document = role.document
    return {
        "Path": document["path"],
        "RoleName": role.name,
        "RoleId": _identity("AROA", role.name),
        "Arn": document["arn"],
        "CreateDate": role.created,
        "AssumeRolePolicyDocument": quote(document["trust"]),  # as IAM returns documents
        "Description": document.get("description") or None,
        "MaxSessionDuration": 3600,
    }


def _change_policies(state: ServiceState, name: str, changed: Any) -> None:
    role = _role(state, name)
    if not role.number:  # that of the account, which becomes a row with its first policy
        state.table.add(replace(role, created=time.time()))
    state.table.change(
        _ROLE,
        name,
        lambda row: replace(row, document={**row.document, "policies": changed(row.document["policies"])}),
    )


def _identity(prefix: str, name: str) -> str:
    return prefix + hashlib.sha256(name.encode()).hexdigest()[:17].upper()


def _no_such_role(name: str) -> ServiceError:
    return ServiceError("NoSuchEntity", f"The role with name {name} cannot be found.", 404)


def _exists(kind: str, name: str) -> ServiceError:
    return ServiceError("EntityAlreadyExists", f"{kind} with name {name} already exists.", 409)
