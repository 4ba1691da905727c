"""Applies the firewall of a user pool to an emulated AWS whose Cognito asks the firewall, and calls Cognito.

The test skips on a machine that cannot run a stage.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import terraform_cli
import yaml
from botocore.exceptions import ClientError

from mjctl.sandbox.emulators import Emulators
from mjctl.sandbox.stage import names
from mjctl.sandbox.stage.firewall import Firewall
from mjctl.sandbox.stage.web_acls import WebAcls
from mjctl.sandbox.stage.web_request import WebRequest

pytestmark = [pytest.mark.infra, pytest.mark.timeout(300)]

REGION = "eu-west-1"
MAIN = """
terraform {
  backend "local" {}
}

provider "aws" {
  region = "eu-west-1"
}

resource "aws_cognito_user_pool" "players" {
  name = "players"
}

resource "aws_kms_key" "logs" {
  policy = jsonencode({ Version = "2012-10-17", Statement = [
    { Effect = "Allow", Action = "kms:*", Resource = "*", Principal = { AWS = "arn:aws:iam::123456789012:root" } },
    { Effect = "Allow", Action = "kms:*", Resource = "*", Principal = { Service = "logs.eu-west-1.amazonaws.com" } },
  ] })
}

module "firewall" {
  source = "../../modules/firewall"

  associations     = { players = aws_cognito_user_pool.players.arn }
  kms_key_arn      = aws_kms_key.logs.arn
  name             = "arena-test-players"
  region           = "eu-west-1"
  scope            = "REGIONAL"
  token_operations = yamldecode(file("../../modules/data_plane/data-plane.yaml")).identity.token_operations
}

output "user_pool_id" {
  value = aws_cognito_user_pool.players.id
}
"""


def firewall_of(running: Emulators, pool: str) -> Firewall:
    arn = f"arn:aws:cognito-idp:{REGION}:123456789012:userpool/{pool}"
    documents = WebAcls(running.url("moto"), running.key.access_key_id).of_resource(arn)
    assert documents is not None
    return Firewall(documents)


def passes(firewall: Firewall, method: str, path: str, operation: str | None = None) -> bool:
    headers = [] if operation is None else [("x-amzn-cognito-operation-name", operation)]
    return firewall.evaluate(WebRequest("192.0.2.1", method, path, "", headers)).allowed


def test_the_firewall_lets_only_the_operations_of_the_api_and_the_public_keys_pass(tmp_path: Path) -> None:
    if reason := names.obstacle():
        pytest.skip(reason)
    tree = terraform_cli.copy_tree(tmp_path)
    source = tree / "stacks" / "identity"
    source.mkdir()
    (source / "main.tf").write_text(MAIN, encoding="utf-8")
    definition = yaml.safe_load((tree / "modules" / "data_plane" / "data-plane.yaml").read_text(encoding="utf-8"))
    with Emulators(tmp_path, stage=True) as running:
        root = terraform_cli.initialised(source, tmp_path / "root", running.endpoints())
        root.run("apply", "-no-color", "-auto-approve")
        # Terraform finds no difference between the module and the web ACL that it reads back.
        root.run("plan", "-no-color", "-detailed-exitcode")
        pool = json.loads(root.run("output", "-json", "-no-color"))["user_pool_id"]["value"]
        cognito = running.client("cognito-idp", REGION)
        client = cognito.create_user_pool_client(UserPoolId=pool, ClientName="game")["UserPoolClient"]["ClientId"]
        with pytest.raises(ClientError, match="ForbiddenException"):
            cognito.sign_up(ClientId=client, Username="ada", Password="Not-a-secret-1")
        with pytest.raises(ClientError, match="NotAuthorizedException"):
            cognito.get_tokens_from_refresh_token(ClientId=client, RefreshToken="none")
        model = cognito.meta.service_model
        public = {name for name in model.operation_names if model.operation_model(name).auth_type == "none"}
        firewall = firewall_of(running, pool)
    allowed = {operation for operation in public if passes(firewall, "POST", "/", operation)}
    assert sorted(allowed) == definition["identity"]["token_operations"]
    for document in ("jwks.json", "openid-configuration"):
        path = f"/{pool}/.well-known/{document}"
        assert passes(firewall, "GET", path)
        assert not passes(firewall, "POST", path, "SignUp")
    assert not passes(firewall, "GET", "/login")
