"""Creates the state bucket with Terraform, and then moves the state of the stack `bootstrap` into that bucket.

On the first run the bucket does not exist, so the state of `bootstrap` starts on this machine. Later runs of
`bootstrap`, from any machine, read the state from the bucket. If a run of `bootstrap` is interrupted, the next run
imports the resources that exist already and creates the missing resources.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from mjctl.clients.account import Account, open_account
from mjctl.clients.error_codes import error_code
from mjctl.deploy.planner.desired_state import DesiredState
from mjctl.files import explained_disk_errors
from mjctl.models.environment import Environment
from mjctl.models.errors import NotFoundError
from mjctl.models.workspace import Workspace
from mjctl.terraform import operations
from mjctl.terraform.remote_state import RemoteState
from mjctl.terraform.runner import Runner
from mjctl.terraform.stack import Stack

UNIT = "bootstrap"
STATE_KEY = "bootstrap.tfstate"

_MODULES = ("bucket", "keys", "state")
_OVERRIDE = "backend_override.tf"
_IMPORTS = "imports.tf"
_IN_THE_BUCKET = """\
terraform {
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}
"""


@dataclass(frozen=True)
class _Unmoved(Stack):
    """Describes the stack `bootstrap` while its state is on this machine.

    Attributes:
        future: The place in the state bucket to which the state will be moved.
    """

    future: RemoteState | None = None

    @property
    def account(self) -> Account | None:
        return self.future.account if self.future else None

    def moved(self) -> Stack:
        known = {field.name: getattr(self, field.name) for field in fields(Stack)}
        return Stack(**{**known, "remote": self.future})


@dataclass(frozen=True)
class Bootstrap:
    """Describes how a run of `bootstrap` creates or corrects the state bucket.

    Attributes:
        account: The AWS account that owns the bucket.
        desired: The stack `bootstrap` and its Terraform variables.
        bucket_exists: True if the state bucket existed before this run of `bootstrap`.
    """

    account: Account
    desired: DesiredState
    bucket_exists: bool

    @property
    def moved(self) -> bool:
        """Return True if the state of `bootstrap` is in the bucket, False while it is on this machine."""
        return not isinstance(self.desired.stack, _Unmoved)


def prepare(workspace: Workspace, environment: Environment) -> Bootstrap:
    """Read how much work earlier runs of `bootstrap` have finished, and copy the Terraform code for this run.

    Raises:
        ConfigError: The credentials belong to another account than the environment's file names.
        UnreachableError, PermissionDeniedError: AWS does not answer or refuses, or this machine cannot write the files.
    """
    account = open_account(workspace, environment)
    account.check_identity()
    try:
        account = replace(account, region=account.state_region())
        bucket_exists, moved = True, account.read(STATE_KEY) is not None
    except NotFoundError:
        bucket_exists = moved = False
    folder = workspace.region_dir(environment.name, UNIT)
    code = folder / "code" / "terraform"
    state = RemoteState(account, STATE_KEY)
    named: dict[str, Any] = {"environment": environment.name, "name": UNIT, "unit": UNIT, "folder": folder}
    named["source_dir"] = code / "stacks" / UNIT
    stack = Stack(**named, remote=state) if moved else _Unmoved(**named, future=state)
    stack.prepare()
    with explained_disk_errors(str(code)):
        _lay_out(workspace, code)
        if moved:
            (stack.source_dir / _OVERRIDE).write_text(_IN_THE_BUCKET, encoding="utf-8")
            # Remove the copy of the state that a run of `bootstrap` leaves on this machine if it is killed just after
            # the move of the state.
            _remove_local_state(stack)
        else:
            (stack.source_dir / _IMPORTS).write_text(_imports(environment.project, account), encoding="utf-8")
    variables: dict[str, Any] = {
        "account_id": account.account_id,
        "bucket": account.bucket,
        "project": environment.project,
        "region": account.region,
        "target": environment.target,
    }
    return Bootstrap(account, DesiredState(stack, variables), bucket_exists)


async def import_existing(runner: Runner, wanted: Bootstrap) -> None:
    """Untaint the resources that an interrupted run of `bootstrap` has created, so that the plan does not replace them.

    Raises:
        TerraformError: Terraform has failed.
        Interrupted: The run was cancelled.
    """
    stack = wanted.desired.stack
    tainted = [] if wanted.moved else _tainted(stack.state_file)
    if tainted:
        await operations.init(runner, stack)
    for address in tainted:
        await runner.run(stack, "untaint", address)


def _tainted(state_file: Path) -> list[str]:
    """Return the addresses of the tainted resources in a state file, whose creation was started and not finished."""
    try:
        resources = json.loads(state_file.read_bytes())["resources"]
    except (FileNotFoundError, ValueError, KeyError):
        return []
    tainted = []
    for resource in resources:
        address = ".".join(filter(None, (resource.get("module"), resource["type"], resource["name"])))
        for instance in resource["instances"]:
            key = instance.get("index_key")
            if instance.get("status") == "tainted":
                tainted.append(address if key is None else f"{address}[{json.dumps(key)}]")
    return tainted


async def move_state(runner: Runner, bootstrap: Bootstrap) -> None:
    """Move the state of `bootstrap` from this machine into the new bucket.

    Raises:
        TerraformError, Interrupted: The state of `bootstrap` is still on this machine, and the next run of `bootstrap`
            moves it.
    """
    unmoved = bootstrap.desired.stack
    if not isinstance(unmoved, _Unmoved):
        return
    stack = unmoved.moved()
    (stack.source_dir / _IMPORTS).unlink(missing_ok=True)
    (stack.source_dir / _OVERRIDE).write_text(_IN_THE_BUCKET, encoding="utf-8")
    await operations.move_state(runner, stack)
    _remove_local_state(stack)


def _remove_local_state(stack: Stack) -> None:
    for file in (stack.state_file, stack.state_file.with_suffix(".tfstate.backup")):
        file.unlink(missing_ok=True)


def _lay_out(workspace: Workspace, code: Path) -> None:
    """Copy the stack `bootstrap` and its modules to `code`.

    mjctl changes the copied code when the state of `bootstrap` moves, because Terraform reads the place of a state from
    the stack's code.
    """
    shutil.rmtree(code, ignore_errors=True)
    source = workspace.project_dir / "terraform"
    ignore = shutil.ignore_patterns(".terraform*")
    for part in (f"stacks/{UNIT}", *(f"modules/{name}" for name in _MODULES)):
        shutil.copytree(source / part, code / part, ignore=ignore)


def _imports(project: str, account: Account) -> str:
    """Return Terraform import blocks for the KMS key of the states, its alias and the state bucket, if they exist.

    An import block does nothing if the state already has the resource. The settings of the bucket need no import block,
    because AWS accepts a request that sets them again.
    """
    blocks = {}
    alias = f"alias/{project}-terraform-state"
    if (key := _key_behind(alias, account)) is not None:
        blocks['module.keys.aws_kms_key.primary["terraform-state"]'] = key
        blocks['module.keys.aws_kms_alias.purpose["terraform-state"]'] = alias
    try:
        account.state_region()
        blocks["module.state.module.bucket.aws_s3_bucket.main"] = account.bucket
    except NotFoundError:
        pass
    return "".join(f'import {{\n  to = {address}\n  id = "{name}"\n}}\n' for address, name in blocks.items())


def _key_behind(alias: str, account: Account) -> str | None:
    try:
        return str(account.client("kms").describe_key(KeyId=alias)["KeyMetadata"]["KeyId"])
    except Exception as error:
        if error_code(error) == "NotFoundException":
            return None
        raise account.explain(error, f"kms {alias}") from error
