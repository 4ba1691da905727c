"""Tests that the web ACL of a user pool decides on Cognito's public operations and on requests for public keys."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.mjctl.sandbox.probes import error_code
from tests.integration.mjctl.sandbox.stage.by_tls import StageCaller, running

REGION = "us-east-1"
PASSWORD = "Not-a-secret-1"
VISIBLE = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": "m"}
PLAIN = [{"Priority": 0, "Type": "NONE"}]
KEPT_SECONDS = 2.5


class GuardedPool:
    """Creates a user pool with a log-in of a player, and a web ACL for the user pool."""

    def __init__(self, stage: StageCaller, name: str) -> None:
        self.stage = stage
        self.cognito, self.waf = stage.plain("cognito-idp", REGION), stage.plain("wafv2", REGION)
        pool = self.cognito.create_user_pool(PoolName=name)["UserPool"]
        self.id, self.arn = pool["Id"], pool["Arn"]
        self.client = self.cognito.create_user_pool_client(
            ClientName="game", ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH"], UserPoolId=self.id
        )["UserPoolClient"]["ClientId"]
        self.cognito.admin_create_user(UserPoolId=self.id, Username="ada", MessageAction="SUPPRESS")
        self.cognito.admin_set_user_password(UserPoolId=self.id, Username="ada", Password=PASSWORD, Permanent=True)
        self.token = self.log_in()

    def log_in(self) -> str:
        answer = self.cognito.admin_initiate_auth(
            UserPoolId=self.id,
            ClientId=self.client,
            AuthFlow="ADMIN_USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": "ada", "PASSWORD": PASSWORD},
        )
        return str(answer["AuthenticationResult"]["AccessToken"])

    def guard(self, name: str, *fields: tuple[dict[str, Any], str]) -> None:
        """Add a web ACL that allows the requests whose fields match patterns, and blocks all other requests."""
        rules = [
            {
                "Name": f"rule-{number}",
                "Priority": number,
                "Action": {"Allow": {}},
                "Statement": {
                    "RegexMatchStatement": {
                        "FieldToMatch": field,
                        "RegexString": pattern,
                        "TextTransformations": PLAIN,
                    }
                },
                "VisibilityConfig": VISIBLE,
            }
            for number, (field, pattern) in enumerate(fields)
        ]
        acl = self.waf.create_web_acl(
            Name=name, Scope="REGIONAL", DefaultAction={"Block": {}}, VisibilityConfig=VISIBLE, Rules=rules
        )
        self.waf.associate_web_acl(WebACLArn=acl["Summary"]["ARN"], ResourceArn=self.arn)
        time.sleep(KEPT_SECONDS)

    def get_user(self) -> str:
        return error_code(self.cognito.get_user, AccessToken=self.token)

    def change_password(self) -> str:
        passwords = {"PreviousPassword": PASSWORD, "ProposedPassword": "Not-a-secret-2"}
        return error_code(self.cognito.change_password, AccessToken=self.token, **passwords)

    def keys(self) -> int:
        host = f"cognito-idp.{REGION}.amazonaws.com"
        return self.stage.https(host, f"/{self.id}/.well-known/jwks.json").status


OPERATION = {"SingleHeader": {"Name": "x-amzn-cognito-operation-name"}}
CLIENT = {"SingleHeader": {"Name": "x-amzn-cognito-client-id"}}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StageCaller]:
    with running(tmp_path_factory.mktemp("stage"), "moto") as caller:
        yield caller


def test_a_web_acl_blocks_public_operations_and_public_keys_but_no_signed_operation(stage: StageCaller) -> None:
    pool, other = GuardedPool(stage, "guarded"), GuardedPool(stage, "other")
    stage.address(f"cognito-idp.{REGION}.amazonaws.com")
    assert (pool.get_user(), pool.keys()) == ("", 200)
    pool.guard("operations", (OPERATION, "^(GetUser)$"))
    assert pool.get_user() == ""
    assert pool.change_password() == "ForbiddenException"
    assert pool.keys() == 403
    assert error_code(pool.cognito.sign_up, ClientId=pool.client, Username="b", Password=PASSWORD) == (
        "ForbiddenException"
    )
    # A web ACL decides only on requests to its own user pool, and on AWS not on operations with AWS credentials.
    assert pool.log_in()
    assert (other.keys(), other.change_password()) == (200, "")


def test_the_header_of_a_client_does_not_replace_the_name_of_the_operation(stage: StageCaller) -> None:
    pool = GuardedPool(stage, "forged")
    pool.guard("forged", (OPERATION, "^GetUser$"), ({"UriPath": {}}, "jwks"))
    host = f"cognito-idp.{REGION}.amazonaws.com"
    stage.address(host)
    body = {"AccessToken": pool.token, "PreviousPassword": PASSWORD, "ProposedPassword": "Not-a-secret-2"}
    answer = stage.https(
        host,
        method="POST",
        body=json.dumps(body).encode(),
        headers={
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": "AWSCognitoIdentityProviderService.ChangePassword",
            "X-Amzn-Cognito-Operation-Name": "GetUser",
        },
    )
    assert (answer.status, answer.document["__type"]) == (403, "ForbiddenException")
    assert "WAF" in answer.document["message"]
    assert pool.keys() == 200


def test_the_app_client_of_a_token_and_of_a_parameter_is_known_to_the_web_acl(stage: StageCaller) -> None:
    pool = GuardedPool(stage, "client")
    pool.guard("client", (CLIENT, f"^{pool.client}$"))
    assert pool.get_user() == ""
    sign_up = {"Username": "b", "Password": PASSWORD}
    assert error_code(pool.cognito.sign_up, ClientId=pool.client, **sign_up) == ""
    assert pool.change_password() == ""
