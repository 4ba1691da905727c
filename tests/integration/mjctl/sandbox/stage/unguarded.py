"""Runs a stage whose gateway admits every access key, so that tests can call AWS as a role.

ministack's port is the gateway. In a real stage, the gateway admits only the operator's access key, and roles call AWS
at the stage's addresses of AWS's endpoints.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import boto3
from botocore.config import Config

from mjctl.local.credentials import ensure_aws_key
from mjctl.sandbox.emulators import Emulators

REGION = "us-east-1"
ACCOUNT = "123456789012"

_PROGRAM = (
    "import sys; from mjctl.local import guard; guard.refusal = lambda *_: None;"
    "from mjctl.sandbox.serve import main; main(sys.argv[1:])"
)


class UnguardedStage(Emulators):
    """Runs ministack with a stage, and creates roles with boto3 clients."""

    def _start(self, emulator: str) -> None:
        ensure_aws_key(self.key_file)
        command = [sys.executable, "-c", _PROGRAM, emulator, str(self._ports[emulator]), "--key", str(self.key_file)]
        command += ["--stage", str(self.folder), "--releases", str(self._folder / "releases")]
        with self._log(emulator).open("wb") as log:
            self._processes[emulator] = subprocess.Popen(
                command if self._corrected else [*command, "--uncorrected"],
                env={k: v for k, v in os.environ.items() if not k.startswith("AWS_")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def folder(self) -> Any:
        return self._folder / "stage"

    def role(self, name: str, *statements: dict[str, Any], **options: Any) -> Role:
        """Create a role that the account trusts, with an inline policy, and assume it."""
        iam = self.client("iam", REGION)
        # Lambda must be able to assume the role, because some tests use the role for functions.
        principal = {"AWS": f"arn:aws:iam::{ACCOUNT}:root", "Service": "lambda.amazonaws.com"}
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust), **options)
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(*statements))
        return Role(self, f"arn:aws:iam::{ACCOUNT}:role{options.get('Path', '/')}{name}")


class Role:
    """Makes boto3 clients with the credentials of a role."""

    def __init__(self, stage: UnguardedStage, arn: str, **session: Any) -> None:
        self.arn, self._stage = arn, stage
        sts = stage.client("sts", REGION)
        self._credentials = sts.assume_role(RoleArn=arn, RoleSessionName="test", **session)["Credentials"]

    def limited(self, *statements: dict[str, Any]) -> Role:
        """Return the role with the credentials of a session that a session policy limits."""
        return Role(self._stage, self.arn, Policy=document(*statements))

    def environment(self) -> dict[str, str]:
        """Return the environment variables with which a program calls AWS as the role."""
        names = {"AWS_ACCESS_KEY_ID": "AccessKeyId", "AWS_SECRET_ACCESS_KEY": "SecretAccessKey"}
        names["AWS_SESSION_TOKEN"] = "SessionToken"
        return {variable: self._credentials[name] for variable, name in names.items()}

    def client(self, service: str, region: str = REGION) -> Any:
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self._stage.url("ministack"),
            aws_access_key_id=self._credentials["AccessKeyId"],
            aws_secret_access_key=self._credentials["SecretAccessKey"],
            aws_session_token=self._credentials["SessionToken"],
            config=Config(proxies={}, retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
        )


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(*actions: str, on: Any = "*", **elements: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": on, **elements}
