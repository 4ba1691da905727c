"""Keeps a copy of the code of every deployed release.

Running processes use the kept copy and never depend on the working tree, and an earlier release can be deployed again.

The releases of an environment are in `<home>/<environment>/releases/`, which has these folders:

- `game/<game digest>/gameserver` is the package of the game server.
- `game/<game digest>/<package>` is a package with a studio's own rules.
- `web/<web digest>/web` is the web client.
- `code/<terraform digest>-<game digest>/terraform` has the Terraform stacks and modules. A symbolic link `gameserver`
  beside the folder `terraform` leads to the package of the game server.

The folder `game/<game digest>` is the PYTHONPATH of a local region's processes. `mjctl.models.release_files` defines
which files of the checkout belong to a release.

The file `releases.json` of a unit lists the unit's releases, newest first (mjctl.terraform.unit_files). On AWS
`shared_code` also uploads the code of a release to the state bucket, so that a machine can roll back a deploy of
another machine.

A folder with a digest as its name is always complete, because it gets this name only after all files are copied.
"""

from __future__ import annotations

import compileall
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from mjctl.clients.account import open_account
from mjctl.deploy.releases import short_digests
from mjctl.deploy.releases.git import commit_of
from mjctl.deploy.releases.shared_code import SharedCode
from mjctl.files import explained_disk_errors
from mjctl.models.environment import Environment
from mjctl.models.errors import ConflictError, NotFoundError
from mjctl.models.release import Release
from mjctl.models.release_files import (
    GAME_PACKAGE,
    Files,
    digest_of,
    game_files,
    rules_packages,
    terraform_files,
    web_files,
)
from mjctl.models.workspace import Workspace
from mjctl.terraform.stack import Stack, source_digest

_KEPT = 6
_FILES = "terraform.files"
_RELEASES = "releases.json"
_ATTEMPT = "attempt.json"


class ReleaseVerdict(StrEnum):
    """Says whether the health gate has checked a release after its apply, and with which result."""

    APPLIED = "applied"
    """The apply was completed, and every process became ready."""
    HEALTHY = "healthy"
    """The health gate found the release healthy after the apply."""
    UNHEALTHY = "unhealthy"
    """The health gate found the release unhealthy after the apply."""


@dataclass(frozen=True)
class ReleaseEntry:
    """Describes a release that was applied to a unit, as an entry of `releases.json`.

    Attributes:
        release: The release.
        variables: The Terraform variables with which the release was applied.
        applied_at: The local time of the apply, in ISO 8601 with its UTC offset.
        verdict: The verdict of the health gate on the release.
    """

    release: Release
    variables: Mapping[str, Any]
    applied_at: str
    verdict: ReleaseVerdict = ReleaseVerdict.APPLIED

    @property
    def revision(self) -> str:
        """Return the revision of the release."""
        return self.release.revision


class ReleaseStore:
    """Keeps and restores the code of the releases of one environment."""

    def __init__(self, workspace: Workspace, environment: Environment) -> None:
        self._workspace = workspace
        self._project = workspace.project_dir
        self._environment = environment
        self._folder = workspace.environment_dir(environment.name) / "releases"

    def of_working_tree(self) -> Release:
        """Return the release of the working tree's code and the environment's file.

        Raises:
            NotFoundError: The checkout has no game server, no Terraform code, or no rules module that a mode names.
            ConfigError: The checkout has a link or a special file, which a release cannot contain.
        """
        config = json.dumps(self._environment.model_dump(mode="json"), sort_keys=True)
        web = self._project / "web"
        return Release(
            game=digest_of(game_files(self._packages())),
            terraform=source_digest(self._project / "terraform"),
            config=hashlib.sha256(config.encode()).hexdigest(),
            commit=commit_of(self._project),
            web=digest_of(web_files(web)) if web.is_dir() else None,
        )

    def _packages(self) -> dict[str, Path]:
        """Return the folders of the Python packages of a release, by the name of the package."""
        rules = (mode.rules for mode in self._environment.game.modes.values())
        return {GAME_PACKAGE: self._project / GAME_PACKAGE, **rules_packages(rules, self._project)}

    def game_dir(self, release: Release) -> Path:
        """Return the path of the folder with the Python packages of a release; the folder may not exist yet."""
        return self._folder / "game" / release.game

    def web_dir(self, release: Release) -> Path | None:
        """Return the path of the folder with a release's web client, or None if the release has no web client."""
        return self._folder / "web" / release.web / "web" if release.web is not None else None

    def source_dir(self, release: Release, stack: str) -> Path:
        """Return the path of the folder with a release's code of the stack `stack`; the folder may not exist yet."""
        return self._code_dir(release) / "terraform" / "stacks" / stack

    def keep(self, release: Release) -> None:
        """Copy the code of the working tree into the release store, unless the store has the code of `release`.

        Raises:
            ConflictError: The code has changed since `release` was computed.
        """
        with explained_disk_errors(str(self._folder)):
            self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._put(release, self._packages, self._project / "terraform")
        web = self.web_dir(release)
        if web is not None:
            _appear(
                web.parent,
                lambda folder: _copy(web_files(self._project / "web"), folder / "web", release.web, web_files),
            )

    def _put(self, release: Release, packages: Callable[[], Mapping[str, Path]], terraform: Path) -> None:
        """Copy the code of a release from the given folders into the store, and no other files of these folders."""

        def copy_game(folder: Path) -> None:
            _copy(game_files(packages()), folder, release.game, lambda kept: game_files(_folders(kept)))
            # Compile the copied code and do not copy the checkout's __pycache__. Python compares only the time and the
            # size of the source file with a compiled file, so a copied __pycache__ could belong to other code.
            compileall.compile_dir(folder, quiet=2)

        def copy_code(folder: Path) -> None:
            files = terraform_files(terraform)
            _copy(files, folder / "terraform", release.terraform, terraform_files)
            # Write a list of the release's files, so that `share` does not upload other files that Terraform writes
            # into the folder.
            (folder / _FILES).write_text("\n".join(sorted(files)), encoding="utf-8")
            (folder / GAME_PACKAGE).symlink_to(Path("../../game") / release.game / GAME_PACKAGE)

        _appear(self.game_dir(release), copy_game)
        _appear(self._code_dir(release), copy_code)

    def restored(self, stack: Stack, entry: ReleaseEntry) -> Stack:
        """Return `stack` with the Terraform code of the earlier release in `entry`.

        The code is downloaded from the state bucket if this machine does not have it.

        Raises:
            NotFoundError: The code of the release is neither on this machine nor in the state bucket.
            VerificationError: The code in the state bucket is damaged.
        """
        source = self.source_dir(entry.release, stack.name)
        if not self._has(entry.release):
            self._fetch(entry.release)
        if not self._has(entry.release):
            raise NotFoundError(
                f"the code of revision {entry.revision} is not kept any more",
                where=str(self._folder),
                hint=f"check out the code of revision {entry.revision} and deploy it; "
                f"`mjctl history --env {stack.environment}` shows the commit of each revision",
            )
        return replace(stack, source_dir=source)

    def share(self, release: Release) -> None:
        """Upload the code of a release to the state bucket for other machines, unless the target is `local`.

        Raises:
            PermissionDeniedError, UnreachableError: The state bucket refuses the code or does not answer.
        """
        shared = self._shared()
        code = self._code_dir(release)
        # If the release's folder has no file `terraform.files`, an earlier version of mjctl has kept the release and
        # has uploaded the release's code already.
        if shared is None or not (code / _FILES).is_file():
            return
        names = (code / _FILES).read_text(encoding="utf-8").splitlines()
        files = {f"terraform/{name}": code / "terraform" / name for name in names}
        shared.put(code.name, {**files, **game_files(_folders(self.game_dir(release)))})

    def _fetch(self, release: Release) -> None:
        """Download the code of a release from the state bucket into the release store, if the bucket has the code."""
        shared = self._shared()
        if shared is None:
            return
        with explained_disk_errors(str(self._folder)):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=self._folder, prefix=".fetched-"))
        try:
            if not shared.fetch(self._code_dir(release).name, temporary):
                return
            packages = {name: path for name, path in _folders(temporary).items() if name != "terraform"}
            shared.verify(release, packages, temporary / "terraform")
            self._put(release, lambda: packages, temporary / "terraform")
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _has(self, release: Release) -> bool:
        needed = [self._code_dir(release), self.game_dir(release)]
        web = self.web_dir(release)
        if web is not None and self._environment.target == "local":
            # Only local regions serve the web client from the release store. On AWS a deploy publishes the web client,
            # and a rollback does not change the published web client.
            needed.append(web)
        return all(path.is_dir() for path in needed)

    def _shared(self) -> SharedCode | None:
        if self._environment.target == "local":
            return None
        account = open_account(self._workspace, self._environment)
        return SharedCode(account, f"{self._environment.project}-{self._environment.name}/releases/")

    def prune(self) -> None:
        """Remove the code of releases that no unit lists in its `releases.json`, except recent code."""
        stacks = [Stack.of_unit(self._workspace, self._environment, unit) for unit in self._environment.units]
        kept = [entry.release for stack in stacks for entry in UnitReleases(stack).entries()]
        wanted = {self.game_dir(release) for release in kept} | {self._code_dir(release) for release in kept}
        wanted |= {web.parent for release in kept if (web := self.web_dir(release)) is not None}
        for folder in [path for part in ("game", "code", "web") for path in self._folder.glob(f"{part}/*")]:
            if folder not in wanted and _age_seconds(folder) > _PLANNING_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
        shared = self._shared()
        if shared is not None:
            shared.prune({self._code_dir(release).name for release in kept})

    def _code_dir(self, release: Release) -> Path:
        return self._folder / "code" / f"{release.terraform}-{release.game}"


# `prune` keeps code that is younger than ten minutes, because no `releases.json` lists a release before its first
# apply.
_PLANNING_SECONDS = 600.0


class UnitReleases:
    """Reads and writes the list of the releases of one unit. Writing methods need the unit's lock."""

    def __init__(self, stack: Stack) -> None:
        self._files = stack.unit_files
        self._where = stack.where

    def entries(self) -> list[ReleaseEntry]:
        """Return the releases of the unit, newest first, or [] if the list is missing or damaged."""
        return _entries(self._files.read(_RELEASES))

    def current(self) -> ReleaseEntry | None:
        """Return the release of the unit's last completed apply, or None if no apply was completed."""
        return next(iter(self.entries()), None)

    def mark_started(self, release: Release) -> None:
        """Record in `attempt.json` that an apply of `release` starts. `record_applied` removes `attempt.json`."""
        self._files.write(_ATTEMPT, json.dumps({"revision": release.revision}))

    def interrupted_revision(self) -> str | None:
        """Return the revision of the last apply if that apply was interrupted or has failed, or else None."""
        try:
            return str(json.loads(self._files.read(_ATTEMPT) or b"{}")["revision"])
        except (ValueError, KeyError):
            return None

    def record_applied(self, release: Release, variables: Mapping[str, Any]) -> None:
        """Record a completed apply of `release`, and keep the gate's verdict on an earlier apply of the revision."""
        entries = self.entries()
        if entries and entries[0].release == release and entries[0].variables == variables:
            # This apply has the same release and variables as the apply before it, so keep the earlier apply's time.
            self._files.remove(_ATTEMPT)
            return
        known = next((entry for entry in entries if entry.revision == release.revision), None)
        verdict = known.verdict if known else ReleaseVerdict.APPLIED
        newest = ReleaseEntry(release, variables, time.strftime("%Y-%m-%dT%H:%M:%S%z"), verdict)
        self._write([newest, *(entry for entry in entries if entry.revision != release.revision)])
        self._files.remove(_ATTEMPT)

    def record_verdict(self, healthy: bool) -> None:
        """Record the gate's verdict on the release of the unit's last completed apply."""
        entries = self.entries()
        if entries:
            verdict = ReleaseVerdict.HEALTHY if healthy else ReleaseVerdict.UNHEALTHY
            self._write([replace(entries[0], verdict=verdict), *entries[1:]])

    def last_good(self, *, other_than: str | None) -> ReleaseEntry:
        """Return the newest release whose apply was completed and that the gate has not found unhealthy.

        Args:
            other_than: A revision that must not be returned, or None to allow every revision.

        Raises:
            NotFoundError: The unit lists no other release, or the gate has found all other releases unhealthy.
        """
        for entry in self.entries():
            if entry.revision != other_than and entry.verdict is not ReleaseVerdict.UNHEALTHY:
                return entry
        raise NotFoundError(
            "the region cannot be rolled back: it has no earlier revision, or the health gate found all earlier "
            "revisions unhealthy",
            where=self._where,
            hint="fix the cause of the failure and deploy again; `mjctl history` shows the earlier deploys",
        )

    def named(self, revision: str) -> ReleaseEntry:
        """Return the release whose revision starts with `revision`.

        Raises:
            NotFoundError: No revision, or more than one revision, in the unit's list starts with `revision`.
        """
        matching = [entry for entry in self.entries() if entry.revision.startswith(revision)]
        if len(matching) != 1:
            known = ", ".join(f"{entry.revision} ({entry.verdict})" for entry in self.entries()) or "none"
            raise NotFoundError(
                f"{len(matching)} kept revisions start with `{revision}`, and a rollback needs exactly one",
                where=self._where,
                hint=f"revisions that are kept for this region: {known}",
            )
        return matching[0]

    def forget(self) -> None:
        """Remove the list of releases, after the unit was destroyed."""
        self._files.remove(_RELEASES)
        self._files.remove(_ATTEMPT)

    def _write(self, entries: list[ReleaseEntry]) -> None:
        # Always keep one earlier release that the gate has not found unhealthy, so that the unit can be rolled back
        # even after many unhealthy releases.
        kept = entries[:_KEPT]
        good = next((entry for entry in entries[1:] if entry.verdict is not ReleaseVerdict.UNHEALTHY), None)
        if good is not None and good not in kept:
            kept = [*kept[:-1], good]
        document = [
            {
                **asdict(entry.release),
                "revision": entry.revision,
                "variables": dict(entry.variables),
                "applied_at": entry.applied_at,
                "standing": entry.verdict,
            }
            for entry in kept
        ]
        self._files.write(_RELEASES, json.dumps(document, indent=2))


def _entries(note: bytes | None) -> list[ReleaseEntry]:
    try:
        values = json.loads(note or b"[]")
        return [
            ReleaseEntry(
                Release(value["game"], value["terraform"], value["config"], value["commit"], value.get("web")),
                value["variables"],
                value["applied_at"],
                ReleaseVerdict(value["standing"]),
            )
            for value in values
        ]
    except (ValueError, KeyError, TypeError):
        return []


def _appear(folder: Path, fill: Callable[[Path], None]) -> None:
    if folder.is_dir():
        return
    with explained_disk_errors(str(folder)):
        # Create each parent folder with its own call, because `mkdir(parents=True)` ignores the mode for parents, and
        # other users could then read the parents.
        for parent in (folder.parents[1], folder.parent):
            parent.mkdir(mode=0o700, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
        try:
            fill(temporary)
            temporary.rename(folder)
        except OSError:
            # If `rename` failed because `folder` exists, another run of mjctl has created `folder` with the same
            # content, because the folder's name is the digest of its content.
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _folders(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in folder.iterdir() if path.is_dir()}


def _copy(files: Files, folder: Path, wanted: str | None, listed: Callable[[Path], Files]) -> None:
    """Copy `files` to their names below `folder`, and check that the copies have the digest `wanted`.

    Raises:
        ConflictError: A file was changed, added or removed since the digest `wanted` was computed.
    """
    for name, path in files.items():
        copy = folder / name
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    # Do not check a short digest of an earlier version of mjctl, because SharedCode.verify has already checked the
    # release.
    if wanted is not None and len(wanted) != short_digests.LENGTH:
        _check(digest_of(listed(folder)), wanted)


def _check(digest: str, wanted: str | None) -> None:
    if digest != wanted:
        raise ConflictError("a file of the working tree was changed during the deploy", hint="run the command again")


def _age_seconds(folder: Path) -> float:
    return time.time() - folder.stat().st_mtime
