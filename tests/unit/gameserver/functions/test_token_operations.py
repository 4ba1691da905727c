"""Tests that the firewall of the user pool lets exactly those operations pass that the functions need.

On AWS, WAF inspects the operations that need no AWS credentials:
https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-waf.html
"""

from __future__ import annotations

import re
from pathlib import Path

import botocore.session
import yaml
from botocore import xform_name

ROOT = Path(__file__).parents[4]
DATA_PLANE = ROOT / "terraform" / "modules" / "data_plane" / "data-plane.yaml"
POLICIES = ROOT / "terraform" / "stacks" / "region" / "api.tf"


def called_operations() -> set[str]:
    """Return the operations of Cognito in the code of the game, by their names in AWS's API."""
    model = botocore.session.get_session().get_service_model("cognito-idp")
    names = {xform_name(operation): operation for operation in model.operation_names}
    code = "\n".join(file.read_text(encoding="utf-8") for file in sorted((ROOT / "gameserver").rglob("*.py")))
    methods = {*re.findall(r"\bcognito\.(\w+)\(", code), *re.findall(r'_admin\(\s*services, "(\w+)"', code)}
    return {names[method] for method in methods if method in names}


def without_credentials(operations: set[str]) -> set[str]:
    model = botocore.session.get_session().get_service_model("cognito-idp")
    return {name for name in operations if model.operation_model(name).auth_type == "none"}


def test_the_firewall_allows_exactly_the_operations_that_the_functions_call_without_aws_credentials() -> None:
    allowed = yaml.safe_load(DATA_PLANE.read_text(encoding="utf-8"))["identity"]["token_operations"]
    assert sorted(without_credentials(called_operations())) == allowed


def test_the_function_auth_may_call_the_operations_that_need_aws_credentials() -> None:
    called = called_operations()
    granted = set(re.findall(r"cognito-idp:(\w+)", POLICIES.read_text(encoding="utf-8")))
    assert called - without_credentials(called) == granted
