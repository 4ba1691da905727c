"""Releases: code kept as it was deployed, so that what runs never depends on the working tree, and can be brought back.

<home>/<environment>/releases/
    game/<game digest>/gameserver/                    the package, and the packages with a studio's own rules beside it;
                                                      this folder is the processes' PYTHONPATH
    web/<web digest>/web/                             the web client
    code/<terraform digest>-<game digest>/terraform/  the stacks and modules, with `gameserver` beside them

Which files belong to a release is decided in mjctl.models.release_files, for digests, copies and archives alike.

What was deployed to a unit, newest first, stands in its `releases.json` (mjctl.terraform.unit_files). On AWS the
code too is shared, see mjctl.deploy.releases.shared_code: another machine can roll back what this one has deployed.

A folder is named by the digest of what it holds and appears by one rename, so it is whole or absent.
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
    """`applied`: every process became ready. `healthy`, `unhealthy`: the health gate's word on top of that."""

    APPLIED = "applied"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True)
class ReleaseEntry:
    """One release as one region got it, with the variables of that apply."""

    release: Release
    variables: Mapping[str, Any]
    applied_at: str
    verdict: ReleaseVerdict = ReleaseVerdict.APPLIED

    @property
    def revision(self) -> str:
        return self.release.revision


class ReleaseStore:
    """The releases of one environment."""

    def __init__(self, workspace: Workspace, environment: Environment) -> None:
        self._workspace = workspace
        self._project = workspace.project_dir
        self._environment = environment
        self._folder = workspace.environment_dir(environment.name) / "releases"

    def of_working_tree(self) -> Release:
        """Return the release that the checkout and the environment's file make now.

        Raises:
            NotFoundError: there is no game server, no Terraform code, or no module of rules that a mode names.
            ConfigError: the checkout has a link or a special file that a release cannot hold.
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
        """Find the folders of the Python packages that belong to a release of the checkout, by package."""
        rules = (mode.rules for mode in self._environment.game.modes.values())
        return {GAME_PACKAGE: self._project / GAME_PACKAGE, **rules_packages(rules, self._project)}

    def game_dir(self, release: Release) -> Path:
        return self._folder / "game" / release.game

    def web_dir(self, release: Release) -> Path | None:
        """The folder of the web client; None for a release that has none beside the game server."""
        return self._folder / "web" / release.web / "web" if release.web is not None else None

    def source_dir(self, release: Release, stack: str) -> Path:
        return self._code_dir(release) / "terraform" / "stacks" / stack

    def keep(self, release: Release) -> None:
        """Copy the working tree's code into the store, unless it is there.

        Raises:
            ConflictError: the code is no longer that of `release`.
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
        """Copy what belongs to a release, and nothing else."""

        def copy_game(folder: Path) -> None:
            _copy(game_files(packages()), folder, release.game, lambda kept: game_files(_folders(kept)))
            # Python takes a cache for its own by time and size alone, so the checkout's caches stay there.
            compileall.compile_dir(folder, quiet=2)

        def copy_code(folder: Path) -> None:
            files = terraform_files(terraform)
            _copy(files, folder / "terraform", release.terraform, terraform_files)
            # Terraform writes more files there: see `share`.
            (folder / _FILES).write_text("\n".join(sorted(files)), encoding="utf-8")
            (folder / GAME_PACKAGE).symlink_to(Path("../../game") / release.game / GAME_PACKAGE)

        _appear(self.game_dir(release), copy_game)
        _appear(self._code_dir(release), copy_code)

    def restored(self, stack: Stack, entry: ReleaseEntry) -> Stack:
        """The stack with the Terraform code of an earlier release.

        Raises:
            NotFoundError: that code is not kept here any more.
        """
        source = self.source_dir(entry.release, stack.name)
        if not self._has(entry.release):
            self._fetch(entry.release)
        if not self._has(entry.release):
            raise NotFoundError(
                f"the code of revision {entry.revision} is not kept here any more",
                where=str(self._folder),
                hint="check out that code and deploy it",
            )
        return replace(stack, source_dir=source)

    def share(self, release: Release) -> None:
        """Let other machines have the code of a release that is kept here; nothing to do for the target `local`.

        Raises:
            PermissionDeniedError, UnreachableError: the state bucket does not take it.
        """
        shared = self._shared()
        code = self._code_dir(release)
        # An earlier version of mjctl, which kept no list of the files, has shared its releases itself.
        if shared is None or not (code / _FILES).is_file():
            return
        names = (code / _FILES).read_text(encoding="utf-8").splitlines()
        files = {f"terraform/{name}": code / "terraform" / name for name in names}
        shared.put(code.name, {**files, **game_files(_folders(self.game_dir(release)))})

    def _fetch(self, release: Release) -> None:
        """Bring here what another machine has shared."""
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
            # Elsewhere a unit does not read it: a deploy publishes the client of the release that it has just kept.
            needed.append(web)
        return all(path.is_dir() for path in needed)

    def _shared(self) -> SharedCode | None:
        if self._environment.target == "local":
            return None
        account = open_account(self._workspace, self._environment)
        return SharedCode(account, f"{self._environment.project}-{self._environment.name}/releases/")

    def prune(self) -> None:
        """Remove code that no region has among its releases."""
        stacks = [Stack.of_unit(self._workspace, self._environment, unit) for unit in self._environment.units]
        kept = [entry.release for stack in stacks for entry in UnitReleases(stack).entries()]
        wanted = {self.game_dir(one) for one in kept} | {self._code_dir(one) for one in kept}
        wanted |= {web.parent for one in kept if (web := self.web_dir(one)) is not None}
        for folder in [path for part in ("game", "code", "web") for path in self._folder.glob(f"{part}/*")]:
            if folder not in wanted and _age_seconds(folder) > _PLANNING_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
        shared = self._shared()
        if shared is not None:
            shared.prune({self._code_dir(one).name for one in kept})

    def _code_dir(self, release: Release) -> Path:
        return self._folder / "code" / f"{release.terraform}-{release.game}"


# Between `keep` and the apply that refers to it no region has the code yet.
_PLANNING_SECONDS = 600.0


class UnitReleases:
    """What one region was given, newest first; the caller holds the region's lock."""

    def __init__(self, stack: Stack) -> None:
        self._files = stack.unit_files
        self._where = stack.where

    def entries(self) -> list[ReleaseEntry]:
        return _entries(self._files.read(_RELEASES))

    def current(self) -> ReleaseEntry | None:
        return next(iter(self.entries()), None)

    def mark_started(self, release: Release) -> None:
        """Note that an apply begins: if it does not go through, the region is half way to this revision."""
        self._files.write(_ATTEMPT, json.dumps({"revision": release.revision}))

    def interrupted_revision(self) -> str | None:
        """The revision that an apply was cut short on, None when the last one went through."""
        try:
            return str(json.loads(self._files.read(_ATTEMPT) or b"{}")["revision"])
        except (ValueError, KeyError):
            return None

    def record_applied(self, release: Release, variables: Mapping[str, Any]) -> None:
        """Note an apply that went through. A revision that comes back keeps what the gate said of it."""
        entries = self.entries()
        if entries and entries[0].release == release and entries[0].variables == variables:
            # There was nothing to change: it is no later apply.
            self._files.remove(_ATTEMPT)
            return
        known = next((one for one in entries if one.revision == release.revision), None)
        verdict = known.verdict if known else ReleaseVerdict.APPLIED
        entry = ReleaseEntry(release, variables, time.strftime("%Y-%m-%dT%H:%M:%S%z"), verdict)
        self._write([entry, *(one for one in entries if one.revision != release.revision)])
        self._files.remove(_ATTEMPT)

    def record_verdict(self, healthy: bool) -> None:
        """Note the gate's word on what runs now."""
        entries = self.entries()
        if entries:
            verdict = ReleaseVerdict.HEALTHY if healthy else ReleaseVerdict.UNHEALTHY
            self._write([replace(entries[0], verdict=verdict), *entries[1:]])

    def last_good(self, *, other_than: str | None) -> ReleaseEntry:
        """The newest release that was wholly applied and never refused by the gate.

        Raises:
            NotFoundError: there is none beside `other_than`.
        """
        for entry in self.entries():
            if entry.revision != other_than and entry.verdict is not ReleaseVerdict.UNHEALTHY:
                return entry
        raise NotFoundError(
            "there is no earlier good revision of this region to go back to",
            where=self._where,
            hint="mend what is wrong and deploy again; `mjctl history` shows what was deployed",
        )

    def named(self, revision: str) -> ReleaseEntry:
        """The release whose revision begins so.

        Raises:
            NotFoundError: none or several do.
        """
        found = [one for one in self.entries() if one.revision.startswith(revision)]
        if len(found) != 1:
            known = ", ".join(f"{one.revision} ({one.verdict})" for one in self.entries()) or "none"
            raise NotFoundError(
                f"no kept revision `{revision}`", where=self._where, hint=f"kept for this region: {known}"
            )
        return found[0]

    def forget(self) -> None:
        """The region is gone."""
        self._files.remove(_RELEASES)
        self._files.remove(_ATTEMPT)

    def _write(self, entries: list[ReleaseEntry]) -> None:
        # However many bad ones follow each other, the newest good one is never pushed out.
        kept = entries[:_KEPT]
        good = next((one for one in entries[1:] if one.verdict is not ReleaseVerdict.UNHEALTHY), None)
        if good is not None and good not in kept:
            kept = [*kept[:-1], good]
        document = [
            {
                **asdict(one.release),
                "revision": one.revision,
                "variables": dict(one.variables),
                "applied_at": one.applied_at,
                "standing": one.verdict,
            }
            for one in kept
        ]
        self._files.write(_RELEASES, json.dumps(document, indent=2))


def _entries(note: bytes | None) -> list[ReleaseEntry]:
    try:
        values = json.loads(note or b"[]")
        return [
            ReleaseEntry(
                Release(one["game"], one["terraform"], one["config"], one["commit"], one.get("web")),
                one["variables"],
                one["applied_at"],
                ReleaseVerdict(one["standing"]),
            )
            for one in values
        ]
    except (ValueError, KeyError, TypeError):
        return []


def _appear(folder: Path, fill: Callable[[Path], None]) -> None:
    if folder.is_dir():
        return
    with explained_disk_errors(str(folder)):
        # One by one: parents made on the way would be open to others.
        for parent in (folder.parents[1], folder.parent):
            parent.mkdir(mode=0o700, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
        try:
            fill(temporary)
            temporary.rename(folder)
        except OSError:
            # Another run was quicker; what it put there is the same.
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _folders(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in folder.iterdir() if path.is_dir()}


def _copy(files: Files, folder: Path, wanted: str | None, listed: Callable[[Path], Files]) -> None:
    """Copy `files` to their names below `folder`, and check that the copies have the digest `wanted`.

    Raises:
        ConflictError: a file was changed, added or removed since that digest was computed.
    """
    for name, path in files.items():
        copy = folder / name
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    # Short digests are of an earlier version, whose archive was checked as a whole.
    if wanted is not None and len(wanted) != short_digests.LENGTH:
        _check(digest_of(listed(folder)), wanted)


def _check(found: str, wanted: str | None) -> None:
    if found != wanted:
        raise ConflictError("the code was changed while it was being deployed", hint="run the command again")


def _age_seconds(folder: Path) -> float:
    return time.time() - folder.stat().st_mtime
