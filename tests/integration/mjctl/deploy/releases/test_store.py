"""The release store copies the code of a tiny project, computes its digests, and restores releases of old versions."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mjctl.deploy.releases.store import UnitReleases
from mjctl.models.errors import NotFoundError
from mjctl.models.release import Release
from mjctl.models.release_files import digest_of, game_files

REGION = "us-east-1"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    "path",
    [
        "web/style.css",
        "docs/notes.md",
        "gameserver/README.md",
        "gameserver/tests/test_word.py",
        "terraform/stacks/local/README.md",
        "terraform/stacks/local/tests/local.tftest.hcl",
        "terraform/stacks/local/local.tftest.hcl",
    ],
)
async def test_a_changed_style_test_or_document_replaces_no_server_and_needs_no_init(project: Any, path: str) -> None:
    await project.deploy(regions=[REGION])
    stamp = project.planner.stack(REGION).terraform_dir / "init.stamp"
    before, written = project.store.of_working_tree(), stamp.stat().st_mtime_ns
    write(project.workspace.project_dir / path, "changed")
    after = project.store.of_working_tree()
    assert (after.game, after.terraform) == (before.game, before.terraform)
    (planned,) = await project.plan([REGION])
    assert planned.result.changes == ()
    assert stamp.stat().st_mtime_ns == written
    assert (after.web != before.web) == path.startswith("web/")


@pytest.mark.parametrize("name", ["more.tf.json", "more.auto.tfvars.json", "terraform.tfvars.json"])
async def test_a_file_that_terraform_reads_automatically_changes_the_revision(project: Any, name: str) -> None:
    before = project.store.of_working_tree()
    write(project.workspace.project_dir / "terraform" / "stacks" / "local" / name, "{}")
    after = project.store.of_working_tree()
    assert (after.terraform != before.terraform, after.revision != before.revision) == (True, True)
    (planned,) = await project.plan([REGION])
    assert (planned.stack.source_dir / name).is_file()


async def test_terraform_runs_the_kept_copy(project: Any) -> None:
    (planned,) = await project.plan([REGION])
    assert planned.stack.source_dir == project.store.source_dir(project.store.of_working_tree(), "local")


def test_a_copy_has_only_the_files_that_the_digest_covers_and_new_caches(project: Any) -> None:
    package = project.workspace.project_dir / "gameserver"
    write(package / "good.py", "GOOD = True\n")
    write(package / "__pycache__" / "good.cpython-313.pyc", "of somewhere else")
    write(package / "notes.md", "not code")
    (package / "linked.py").symlink_to("good.py")
    release = project.store.of_working_tree()
    project.store.keep(release)
    copy = project.store.game_dir(release) / "gameserver"
    assert not (copy / "linked.py").is_symlink()
    caches = set(copy.rglob("*.pyc"))
    assert {path.name.partition(".")[0] for path in caches} == {"good", "linked"}
    assert b"of somewhere else" not in b"".join(path.read_bytes() for path in caches)
    kept = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()} - {
        path.relative_to(copy).as_posix() for path in caches
    }
    assert kept == {"good.py", "linked.py", "word"}


def test_the_package_with_a_studios_rules_is_a_part_of_the_release(project: Any) -> None:
    root = project.workspace.project_dir
    write(root / "studio" / "chess.py", "rules = None\n")
    before = project.store.of_working_tree()
    modes = {"duel": project.environment.game.modes["arena"].model_copy(update={"rules": "studio.chess"})}
    game = project.environment.game.model_copy(update={"modes": modes})
    project.environment = project.environment.model_copy(update={"game": game})
    release = project.store.of_working_tree()
    assert release.game != before.game
    project.store.keep(release)
    assert (project.store.game_dir(release) / "studio" / "chess.py").is_file()
    write(root / "studio" / "chess.py", "rules = 1\n")
    assert project.store.of_working_tree().game != release.game
    shutil.rmtree(root / "studio")
    with pytest.raises(NotFoundError, match=r"uses the rules module 'studio\.chess'"):
        project.store.of_working_tree()


@pytest.mark.parametrize("part", ["gameserver", "terraform"])
def test_a_release_without_the_game_server_or_terraform_code_is_refused(project: Any, part: str) -> None:
    shutil.rmtree(project.workspace.project_dir / part)
    with pytest.raises(NotFoundError, match="a release needs the"):
        project.store.of_working_tree()


async def test_a_change_of_the_web_client_is_deployed_and_rolled_back(project: Any) -> None:
    style = project.workspace.project_dir / "web" / "style.css"
    write(style, "old")
    await project.deploy(regions=[REGION])
    first = project.releases(REGION).current()
    write(style, "new")
    await project.deploy(regions=[REGION])
    second = project.releases(REGION).current()
    assert (first.release.game, first.release.web) != (second.release.game, second.release.web)
    assert first.release.game == second.release.game
    served = Path(second.variables["web_dir"])
    assert (served / "style.css").read_text() == "new"
    back = project.planner.for_rollback(REGION, project.releases(REGION).last_good(other_than=second.revision))
    assert (Path(back.variables["web_dir"]) / "style.css").read_text() == "old"


async def test_a_release_of_an_earlier_version_is_listed_and_can_be_restored(project: Any) -> None:
    """Restore a release whose digests have 16 digits and whose web client is a part of the game server."""
    await project.deploy(regions=[REGION])
    releases: UnitReleases = project.releases(REGION)
    now = releases.current()
    assert now is not None
    old = Release("0123456789abcdef", "fedcba9876543210", "00112233445566778899"[:16], "abc")
    folder = project.workspace.environment_dir("test") / "releases"
    shutil.copytree(project.store.game_dir(now.release), folder / "game" / old.game)
    write(folder / "game" / old.game / "gameserver" / "word", "earlier")
    code = folder / "code" / f"{old.terraform}-{old.game}"
    shutil.copytree(project.store.source_dir(now.release, "local").parents[1], code / "terraform")
    (code / "gameserver").symlink_to(Path("../../game") / old.game / "gameserver")
    variables = {key: value for key, value in now.variables.items() if key != "web_dir"}
    variables |= {"revision": old.game, "release_dir": str(folder / "game" / old.game)}
    path = project.workspace.region_dir("test", REGION) / "releases.json"
    entries = json.loads(path.read_text())
    # An earlier version of mjctl wrote entries without a digest of the web client.
    entry = {"game": old.game, "terraform": old.terraform, "config": old.config, "commit": old.commit}
    entry |= {"revision": "ignored", "variables": variables, "applied_at": now.applied_at, "standing": "applied"}
    path.write_text(json.dumps([*entries, entry]))

    assert [entry.release for entry in releases.entries()] == [now.release, old]
    assert old.revision == digest_revision(old)
    (planned,) = await project.deployment.plan(
        [project.planner.for_rollback(REGION, releases.last_good(other_than=now.revision))]
    )
    (result,) = await project.deployment.apply([planned])
    assert (result.error, str(result.outcome)) == (None, "applied")
    assert project.word(REGION) == "earlier"
    assert releases.current().release == old  # type: ignore[union-attr]
    project.store.prune()
    assert project.store.game_dir(old).is_dir()


def digest_revision(release: Release) -> str:
    """Return the revision as earlier versions of mjctl computed a revision."""
    return hashlib.sha256("\0".join((release.game, release.terraform, release.config)).encode()).hexdigest()[:12]


def test_a_copy_has_the_same_digest_as_the_checkout(project: Any) -> None:
    release = project.store.of_working_tree()
    project.store.keep(release)
    kept = project.store.game_dir(release)
    assert digest_of(game_files({"gameserver": kept / "gameserver"})) == release.game
