"""Checks the identity of an environment's AWS account, reads the state bucket, and creates boto3 clients.

The module needs no contract, so mjctl can use it before the first deploy.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mjctl.clients.error_codes import error_code
from mjctl.clients.refusals import refusal
from mjctl.local import emulated
from mjctl.local.credentials import AwsKey
from mjctl.models.environment import Environment
from mjctl.models.errors import ConfigError, MjctlError, NotFoundError, UnreachableError
from mjctl.models.workspace import Workspace

# Environment variables for Terraform and SDKs, so that they never send the operator's key to an emulated AWS. The
# argument `endpoints` of `account_at` replaces the key `test` by the emulators' key.
_EMULATED_SETTINGS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_MAX_ATTEMPTS": "5",
}
_NOT_MODIFIED = ("304", "NotModified")
# boto3 cannot create clients in several threads at the same time.
_making = threading.Lock()


@dataclass(frozen=True)
class StageFiles:
    """Names the files of a stage, by which mjctl's own clients reach the stage's processes.

    Attributes:
        ca_file: The certificate of the stage's authority.
        names_file: The JSON file with the address of each name of the stage.
    """

    ca_file: str
    names_file: str


@dataclass(frozen=True)
class Account:
    """Describes the AWS account of an environment.

    Attributes:
        environment: The name of the environment.
        account_id: The account, twelve digits.
        region: The primary region of the environment.
        bucket: The name of the state bucket.
        variables: Environment variables with which an SDK or Terraform uses the emulators; () for the real AWS.
        key_file: The file with the emulators' key; None for the real AWS.
        stage: The files of the stage; None for the real AWS, and for an emulated AWS without a stage.
    """

    environment: str
    account_id: str
    region: str
    bucket: str
    variables: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    key_file: str | None = None
    stage: StageFiles | None = None

    @property
    def emulated(self) -> bool:
        """Return whether the account is an emulated AWS."""
        return bool(self.variables)

    @property
    def endpoint_url(self) -> str | None:
        """Return the address of the main emulator, or None for the real AWS."""
        return dict(self.variables).get("AWS_ENDPOINT_URL")

    @property
    def emulated_aws(self) -> dict[str, Any] | None:
        """Return the variable `emulated_aws` of the stack `region`, or None for the real AWS."""
        if not self.emulated:
            return None
        start = "AWS_ENDPOINT_URL_"
        services = {name.removeprefix(start).lower(): url for name, url in self.variables if name.startswith(start)}
        return {
            "endpoint_url": self.endpoint_url,
            "secret": f"file:{self.key_file}" if self.key_file else None,
            "service_endpoint_urls": services,
            "stage": asdict(self.stage) if self.stage else None,
        }

    @property
    def where(self) -> str:
        """Return the environment and the account, which errors name as their place."""
        return f"environment {self.environment}, account {self.account_id}"

    def check_identity(self) -> str:
        """Return the account of the operator's credentials, after checking that it is the environment's account.

        Each process of mjctl asks AWS only once which account the credentials belong to.

        Raises:
            ConfigError: the credentials belong to another account.
            PermissionDeniedError: there are no credentials, or AWS refuses them.
            UnreachableError: AWS does not answer.
        """
        account_id = _account_of_credentials(self)
        if account_id != self.account_id:
            raise ConfigError(
                f"your credentials belong to account {account_id}, and the environment is in account {self.account_id}",
                where=f"configs/{self.environment}.yaml: aws.account_id",
                hint=f"use credentials of account {self.account_id} (AWS_PROFILE), or correct aws.account_id in the "
                f"environment's file",
            )
        return account_id

    def state_key_arn(self) -> str:
        """Return the ARN of the state bucket's KMS key. Each process of mjctl asks AWS for this ARN only once.

        Raises:
            NotFoundError: there is no state bucket, because `mjctl bootstrap` was not run yet.
            ConfigError: the state bucket is not encrypted with a KMS key.
            PermissionDeniedError: there are no credentials, or AWS refuses them.
            UnreachableError: AWS does not answer.
        """
        return _key_of_bucket(self)

    def state_region(self) -> str:
        """Return the region of the state bucket. Each process of mjctl asks AWS for this region only once.

        All environments of a project in an AWS account share the state bucket, so the bucket's region may differ from
        an environment's primary region.

        Raises:
            NotFoundError: there is no state bucket, because `mjctl bootstrap` was not run yet.
            PermissionDeniedError: there are no credentials, or AWS refuses them.
            UnreachableError: AWS does not answer.
        """
        return _region_of_bucket(self)

    def client(self, service: str, region: str | None = None) -> Any:
        """Return the boto3 client of `service`, which is created once and may be used by several threads."""
        return _client(self, service, region or self.region)

    def read(self, key: str, etag: str | None = None) -> tuple[bytes, str] | None:
        """Return the content and the ETag of an object of the state bucket, or None if there is no such object.

        Args:
            key: The key of the object.
            etag: The ETag of the content that the caller knows. If the object's ETag still equals `etag`, AWS does not
                send the content, and `read` returns b"" as the content.

        Raises:
            NotFoundError: there is no state bucket.
            PermissionDeniedError: there are no credentials, or AWS refuses them.
            UnreachableError: AWS does not answer.
        """
        known = {"IfNoneMatch": etag} if etag else {}
        try:
            answer = self.client("s3").get_object(Bucket=self.bucket, Key=key, **known)
            return answer["Body"].read(), str(answer["ETag"])
        except Exception as error:
            code = error_code(error)
            if etag and code in _NOT_MODIFIED:
                return b"", etag
            if code in ("NoSuchKey", "404"):
                return None
            raise self.explain(error, f"s3://{self.bucket}/{key}") from error

    def no_bucket(self) -> NotFoundError:
        """Return the error of a missing state bucket."""
        return NotFoundError(
            f"the state bucket {self.bucket} does not exist",
            where=self.where,
            hint=f"`mjctl bootstrap --env {self.environment}` creates the state bucket",
        )

    def explain(self, error: Exception, part: str) -> MjctlError:
        """Convert an exception of boto3 into an error for operators, and raise any exception of another library again.

        Args:
            error: The exception.
            part: The resource or the API operation, for the error's place.
        """
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
            sandbox = f"check the sandbox: `mjctl sandbox status --env {self.environment}`"
            hint = sandbox if self.emulated else "check the network"
            return UnreachableError(f"AWS does not answer: {error}", where=where, hint=hint)
        raise error


def open_account(workspace: Workspace, environment: Environment) -> Account:
    """Return the account of an environment of target `aws` or `sandbox`. `open_account` sends no request to AWS.

    Raises:
        UnreachableError: the environment's sandbox does not run.
    """
    variables: Mapping[str, str] = {}
    key_file = None
    stage = None
    if environment.target == "sandbox":
        from mjctl.sandbox.daemon import running

        sandbox = running(workspace.environment_dir(environment.name))
        if sandbox is None:
            raise UnreachableError(
                "the sandbox does not run",
                where=f"environment {environment.name}",
                hint=f"start the sandbox with `mjctl sandbox up --env {environment.name}`",
            )
        variables = sandbox.endpoints
        key_file = sandbox.key_file
        if sandbox.stage_folder is not None:
            from mjctl.sandbox.stage.layout import authority_folder, certificate_file, names_file

            folder = Path(sandbox.stage_folder)
            stage = StageFiles(str(certificate_file(authority_folder(folder))), str(names_file(folder)))
    return account_at(environment, variables, key_file, stage)


def account_at(
    environment: Environment,
    endpoints: Mapping[str, str],
    key_file: str | None = None,
    stage: StageFiles | None = None,
) -> Account:
    """Return the environment's account on the real AWS or on emulators.

    Args:
        environment: The environment.
        endpoints: The variables AWS_ENDPOINT_URL... and the key of the emulators. If `endpoints` is empty, the account
            is on the real AWS.
        key_file: The file with the emulators' key; None for the real AWS.
        stage: The files of the stage, or None without a stage.
    """
    settings = environment.account
    return Account(
        environment=environment.name,
        account_id=settings.account_id,
        region=environment.primary_region,
        bucket=settings.state_bucket or f"{environment.project}-terraform-state-{settings.account_id}",
        variables=tuple(sorted({**_EMULATED_SETTINGS, **endpoints}.items())) if endpoints else (),
        key_file=key_file,
        stage=stage,
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
        answer = account.client("s3").get_bucket_encryption(Bucket=account.bucket)
        rule = answer["ServerSideEncryptionConfiguration"]["Rules"][0]
        return str(rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"])
    except (KeyError, IndexError):
        raise ConfigError(
            f"the state bucket {account.bucket} is not encrypted with a KMS key",
            where=account.where,
            hint=f"`mjctl bootstrap --env {account.environment}` encrypts the state bucket",
        ) from None
    except Exception as error:
        raise account.explain(error, f"s3://{account.bucket}") from error


@cache
def _region_of_bucket(account: Account) -> str:
    try:
        answer = account.client("s3").head_bucket(Bucket=account.bucket)
    except Exception as error:
        # S3 answers a HEAD request without a body, so botocore reports the status 404 instead of the code
        # `NoSuchBucket`.
        if error_code(error) in ("404", "NoSuchBucket"):
            raise account.no_bucket() from None
        raise account.explain(error, f"s3://{account.bucket}") from error
    return str(answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region") or account.region)


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
        client = session.client(
            service, region_name=region, config=Config(retries={"mode": "standard"}, **options), **settings
        )
        return emulated.reach_stores(client) if account.emulated else client
