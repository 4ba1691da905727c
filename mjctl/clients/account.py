"""The AWS account of an environment, before any contract exists: who acts there, its state bucket, its clients."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from mjctl.clients.error_codes import error_code
from mjctl.clients.refusals import refusal
from mjctl.local import emulated
from mjctl.local.credentials import AwsKey
from mjctl.models.environment import Environment
from mjctl.models.errors import ConfigError, MjctlError, NotFoundError, UnreachableError
from mjctl.models.workspace import Workspace

# What goes to an emulator: its own key, which `endpoints` of `account_at` has, and never the operator's.
_EMULATED_SETTINGS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_MAX_ATTEMPTS": "5",
}
_NOT_MODIFIED = ("304", "NotModified")
# Making a client is not thread-safe in boto3.
_making = threading.Lock()


@dataclass(frozen=True)
class Account:
    """`region` holds the state bucket. `variables` send an SDK or Terraform to the emulators; () on the real AWS.

    `key_file`: the file with the emulators' key; None on the real AWS.
    """

    environment: str
    account_id: str
    region: str
    bucket: str
    variables: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    key_file: str | None = None

    @property
    def emulated(self) -> bool:
        return bool(self.variables)

    @property
    def endpoint_url(self) -> str | None:
        """Where most of an emulated AWS answers; None on the real one."""
        return dict(self.variables).get("AWS_ENDPOINT_URL")

    @property
    def service_endpoint_urls(self) -> dict[str, str]:
        """Services that another emulator answers, e.g. {"cloudwatch": ...}; {} on the real AWS."""
        start = "AWS_ENDPOINT_URL_"
        return {name.removeprefix(start).lower(): url for name, url in self.variables if name.startswith(start)}

    @property
    def where(self) -> str:
        return f"environment {self.environment}, account {self.account_id}"

    def check_identity(self) -> str:
        """The account that the credentials belong to, asked once a run.

        Raises:
            ConfigError: it is another one than the environment's.
            PermissionDeniedError: there are no credentials, or AWS refuses them.
            UnreachableError: AWS does not answer.
        """
        found = _account_of_credentials(self)
        if found != self.account_id:
            raise ConfigError(
                f"these credentials belong to account {found}, the environment names {self.account_id}",
                where=f"configs/{self.environment}.yaml: aws.account_id",
                hint="sign in to the other account (AWS_PROFILE), or correct the file",
            )
        return found

    def state_key_arn(self) -> str:
        """The KMS key of the state bucket, asked once a run.

        Raises:
            NotFoundError: `mjctl bootstrap` was not run yet.
            As `check_identity`.
        """
        return _key_of_bucket(self)

    def state_region(self) -> str:
        """Where the state bucket lies, asked once a run: environments of a project share it, whatever their primary
        region is.

        Raises:
            NotFoundError: `mjctl bootstrap` was not run yet.
            As `check_identity`.
        """
        return _region_of_bucket(self)

    def client(self, service: str, region: str | None = None) -> Any:
        """A boto3 client, thread-safe, made once."""
        return _client(self, service, region or self.region)

    def read(self, key: str, etag: str | None = None) -> tuple[bytes, str] | None:
        """An object of the state bucket and its ETag, None when there is none. One that still has `etag` is not sent.

        Raises:
            NotFoundError: there is no state bucket.
            As `check_identity`.
        """
        known = {"IfNoneMatch": etag} if etag else {}
        try:
            found = self.client("s3").get_object(Bucket=self.bucket, Key=key, **known)
            return found["Body"].read(), str(found["ETag"])
        except Exception as error:
            code = error_code(error)
            if etag and code in _NOT_MODIFIED:
                return b"", etag
            if code in ("NoSuchKey", "404"):
                return None
            raise self.explain(error, f"s3://{self.bucket}/{key}") from error

    def no_bucket(self) -> NotFoundError:
        return NotFoundError(
            f"there is no state bucket yet: {self.bucket}",
            where=self.where,
            hint=f"`mjctl bootstrap --env {self.environment}` makes it",
        )

    def explain(self, error: Exception, part: str) -> MjctlError:
        """What an error of boto3 means to a person. Any other error is raised as it is."""
        from botocore.exceptions import BotoCoreError, ClientError

        if isinstance(error, MjctlError):
            return error
        where = f"{self.where}, {part}"
        if error_code(error) == "NoSuchBucket":
            return self.no_bucket()
        refused = refusal(error, where)
        if refused is not None:
            return refused
        if isinstance(error, ClientError):
            return UnreachableError(f"AWS answered: {error}", where=where)
        if isinstance(error, BotoCoreError):
            again = f"`mjctl sandbox status --env {self.environment}`" if self.emulated else "check the network"
            return UnreachableError(f"AWS does not answer: {error}", where=where, hint=again)
        raise error


def open_account(workspace: Workspace, environment: Environment) -> Account:
    """The account of a production environment. Only files are read: AWS is asked when something is wanted of it.

    Raises:
        UnreachableError: the environment's sandbox is not up.
    """
    variables: Mapping[str, str] = {}
    key_file = None
    if environment.target == "sandbox":
        from mjctl.sandbox.daemon import running

        sandbox = running(workspace.environment_dir(environment.name))
        if sandbox is None:
            raise UnreachableError(
                "the sandbox is not up",
                where=f"environment {environment.name}",
                hint=f"`mjctl sandbox up --env {environment.name}`",
            )
        variables = sandbox.endpoints
        key_file = sandbox.key_file
    return account_at(environment, variables, key_file)


def account_at(environment: Environment, endpoints: Mapping[str, str], key_file: str | None = None) -> Account:
    """Return the environment's account at these emulators.

    Args:
        endpoints: Variables AWS_ENDPOINT_URL... and the emulators' key; {} is the real AWS.
        key_file: Where the emulators' key is kept.
    """
    settings = environment.account
    return Account(
        environment=environment.name,
        account_id=settings.account_id,
        region=environment.primary_region,
        bucket=settings.state_bucket or f"{environment.project}-terraform-state-{settings.account_id}",
        variables=tuple(sorted({**_EMULATED_SETTINGS, **endpoints}.items())) if endpoints else (),
        key_file=key_file,
    )


@cache
def _account_of_credentials(account: Account) -> str:
    try:
        return str(account.client("sts").get_caller_identity()["Account"])
    except Exception as error:
        raise account.explain(error, "sts:GetCallerIdentity") from error


@cache
def _key_of_bucket(account: Account) -> str:
    try:
        found = account.client("s3").get_bucket_encryption(Bucket=account.bucket)
        rule = found["ServerSideEncryptionConfiguration"]["Rules"][0]
        return str(rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"])
    except (KeyError, IndexError):
        raise ConfigError(
            f"the state bucket is not encrypted by a key of its own: {account.bucket}",
            where=account.where,
            hint=f"`mjctl bootstrap --env {account.environment}` puts it right",
        ) from None
    except Exception as error:
        raise account.explain(error, f"s3://{account.bucket}") from error


@cache
def _region_of_bucket(account: Account) -> str:
    try:
        found = account.client("s3").head_bucket(Bucket=account.bucket)
    except Exception as error:
        # An answer to HEAD has no body that would say which thing is missing.
        if error_code(error) in ("404", "NoSuchBucket"):
            raise account.no_bucket() from None
        raise account.explain(error, f"s3://{account.bucket}") from error
    return str(found["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region") or account.region)


@cache
def _client(account: Account, service: str, region: str) -> Any:
    import boto3
    from botocore.config import Config

    settings: dict[str, Any] = {}
    options: dict[str, Any] = {"connect_timeout": 5, "read_timeout": 20, "user_agent_extra": "mjctl"}
    if account.emulated:
        given = dict(account.variables)
        name = f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}"
        settings = {"endpoint_url": given.get(name, account.endpoint_url)}
        key = AwsKey(given["AWS_ACCESS_KEY_ID"], given["AWS_SECRET_ACCESS_KEY"])
        options |= {"s3": {"addressing_style": "path"}, "proxies": {}}
    with _making:
        session: Any = boto3.Session(botocore_session=emulated.session(key)) if account.emulated else boto3.Session()
        return session.client(
            service, region_name=region, config=Config(retries={"mode": "standard"}, **options), **settings
        )
