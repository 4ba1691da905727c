"""The state bucket, made by Terraform whose own state then moves into it.

On the first run there is no bucket, so the state begins on this machine. Later runs, from any machine, find it in the
bucket. A run that was interrupted in between is finished by the next: what exists already is imported into its state.
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
    """The stack while its state lies on this machine; `future` is where it will be."""

    future: RemoteState | None = None

    @property
    def account(self) -> Account | None:
        return self.future.account if self.future else None

    def moved(self) -> Stack:
        known = {field.name: getattr(self, field.name) for field in fields(Stack)}
        return Stack(**{**known, "remote": self.future})


@dataclass(frozen=True)
class Bootstrap:
    """What is to be made. `found`: the bucket was there before."""

    account: Account
    desired: DesiredState
    found: bool

    @property
    def moved(self) -> bool:
        """Whether the state lies in the bucket."""
        return not isinstance(self.desired.stack, _Unmoved)


def prepare(workspace: Workspace, environment: Environment) -> Bootstrap:
    """Find out how far an earlier run came, and lay the code out for this one.

    Raises:
        ConfigError: the credentials are another account's.
        UnreachableError, PermissionDeniedError: AWS, or the disk.
    """
    account = open_account(workspace, environment)
    account.check_identity()
    try:
        account = replace(account, region=account.state_region())
        found, moved = True, account.read(STATE_KEY) is not None
    except NotFoundError:
        found = moved = False
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
            # Of a run that was killed just after it had moved the state.
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
    return Bootstrap(account, DesiredState(stack, variables), found)


async def import_existing(runner: Runner, wanted: Bootstrap) -> None:
    """Untaint the resources that an interrupted run was making. They exist, so that the plan corrects them instead of
    replacing them.

    Raises:
        TerraformError, Interrupted: see Runner.run.
    """
    stack = wanted.desired.stack
    tainted = [] if wanted.moved else _tainted(stack.state_file)
    if tainted:
        await operations.init(runner, stack)
    for address in tainted:
        await runner.run(stack, "untaint", address)


def _tainted(state_file: Path) -> list[str]:
    """Addresses of what was begun and not finished."""
    try:
        resources = json.loads(state_file.read_bytes())["resources"]
    except (FileNotFoundError, ValueError, KeyError):
        return []
    found = []
    for resource in resources:
        address = ".".join(filter(None, (resource.get("module"), resource["type"], resource["name"])))
        for instance in resource["instances"]:
            key = instance.get("index_key")
            if instance.get("status") == "tainted":
                found.append(address if key is None else f"{address}[{json.dumps(key)}]")
    return found


async def move_state(runner: Runner, made: Bootstrap) -> None:
    """Move the state of a bucket that was just made into it.

    Raises:
        TerraformError, Interrupted: the state still lies on this machine, and the next run moves it.
    """
    unmoved = made.desired.stack
    if not isinstance(unmoved, _Unmoved):
        return
    stack = unmoved.moved()
    (stack.source_dir / _IMPORTS).unlink(missing_ok=True)
    (stack.source_dir / _OVERRIDE).write_text(_IN_THE_BUCKET, encoding="utf-8")
    await operations.move_state(runner, stack)
    _remove_local_state(stack)


def _remove_local_state(stack: Stack) -> None:
    for left in (stack.state_file, stack.state_file.with_suffix(".tfstate.backup")):
        left.unlink(missing_ok=True)


def _lay_out(workspace: Workspace, code: Path) -> None:
    """A private copy of the stack and its modules: a backend is code, and the state's place changes."""
    shutil.rmtree(code, ignore_errors=True)
    source = workspace.project_dir / "terraform"
    ignore = shutil.ignore_patterns(".terraform*")
    for part in (f"stacks/{UNIT}", *(f"modules/{name}" for name in _MODULES)):
        shutil.copytree(source / part, code / part, ignore=ignore)


def _imports(project: str, account: Account) -> str:
    """Import blocks for what exists already. Those for what the state knows by now do nothing; the bucket's settings
    need none, because making them again is no error."""
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
