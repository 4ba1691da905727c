"""Tests of the files of a release: the changes that change a digest, and the files that are rejected."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mjctl.models.errors import ConfigError, NotFoundError
from mjctl.models.release_files import digest_of, game_files, rules_packages, terraform_files, web_files


def write(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a checkout with a file or two in each part."""
    root = tmp_path / "project"
    write(root / "gameserver" / "__init__.py", "")
    write(root / "gameserver" / "rules" / "arena.py")
    write(root / "terraform" / "stacks" / "local" / "main.tf")
    write(root / "web" / "index.html")
    return root


def digests(project: Path) -> dict[str, str]:
    return {
        "game": digest_of(game_files({"gameserver": project / "gameserver"})),
        "terraform": digest_of(terraform_files(project / "terraform")),
        "web": digest_of(web_files(project / "web")),
    }


def changed_by(project: Path, change: Callable[[], object]) -> set[str]:
    before = digests(project)
    change()
    after = digests(project)
    return {part for part in before if before[part] != after[part]}


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("web/style.css", "web"),
        ("web/fonts/play.woff2", "web"),
        ("gameserver/rules/chess.py", "game"),
        ("gameserver/rules/arena.pxd", "game"),
        ("gameserver/requirements.txt", "game"),
        ("gameserver/compile-requirements.txt", "game"),
        ("gameserver/certificates/rds.pem", "game"),
        ("gameserver/rules/hidden.pyc", "game"),
        ("gameserver/match.cpython-313-x86_64-linux-gnu.so", "game"),
        ("terraform/stacks/local/more.tf", "terraform"),
        ("terraform/stacks/local/more.tf.json", "terraform"),
        ("terraform/stacks/local/main_override.tf", "terraform"),
        ("terraform/stacks/local/terraform.tfvars", "terraform"),
        ("terraform/stacks/local/terraform.tfvars.json", "terraform"),
        ("terraform/stacks/local/more.auto.tfvars", "terraform"),
        ("terraform/stacks/local/more.auto.tfvars.json", "terraform"),
        ("terraform/stacks/region/.terraform.lock.hcl", "terraform"),
        ("terraform/modules/data_plane/data-plane.yaml", "terraform"),
        ("terraform/modules/data_plane/policy.json.tftpl", "terraform"),
    ],
)
def test_an_added_and_a_changed_file_that_runs_changes_the_digest_of_its_part(
    project: Path, path: str, part: str
) -> None:
    assert changed_by(project, lambda: write(project / path)) == {part}
    assert changed_by(project, lambda: write(project / path, "another text")) == {part}


@pytest.mark.parametrize(
    "path",
    [
        "gameserver/README.md",
        "gameserver/requirements.in",
        "gameserver/compile-requirements.in",
        "gameserver/__pycache__/match.cpython-313.pyc",
        "gameserver/rules/tests/test_arena.py",
        "gameserver/rules/.arena.py.swp",
        "gameserver/rules/arena.py~",
        "terraform/modules/keys/README.md",
        "terraform/modules/keys/tests/keys.tftest.hcl",
        "terraform/stacks/local/local.tftest.hcl",
        "terraform/stacks/local/.terraform/modules/modules.json",
        "terraform/stacks/local/terraform.tfstate",
        "terraform/stacks/local/terraform.tfstate.backup",
        "web/README.md",
        "tests/unit/test_new.py",
        "docs/new.md",
    ],
)
def test_a_file_that_does_not_run_changes_no_digest(project: Path, path: str) -> None:
    assert changed_by(project, lambda: write(project / path)) == set()


def test_a_digest_has_64_digits_and_distinguishes_names_from_contents(tmp_path: Path) -> None:
    digests = set()
    for name, text in (("a", "bc"), ("ab", "c"), ("abc", "")):
        folder = tmp_path / name
        write(folder / "gameserver" / name, text)
        digests.add(digest_of(game_files({"gameserver": folder / "gameserver"})))
    assert len(digests) == 3
    assert {len(digest) for digest in digests} == {64}


def test_a_renamed_file_changes_the_digest(project: Path) -> None:
    rules = project / "gameserver" / "rules"
    assert changed_by(project, lambda: (rules / "arena.py").rename(rules / "chess.py")) == {"game"}


def test_permissions_and_empty_folders_change_no_digest(project: Path) -> None:
    def change() -> None:
        (project / "gameserver" / "rules" / "arena.py").chmod(0o755)
        (project / "terraform" / "modules" / "empty").mkdir(parents=True)

    assert changed_by(project, change) == set()


def test_a_link_to_a_file_of_the_same_folder_counts_as_that_file(project: Path) -> None:
    rules = project / "gameserver" / "rules"
    assert changed_by(project, lambda: (rules / "duel.py").symlink_to("arena.py")) == {"game"}
    assert changed_by(project, lambda: write(rules / "arena.py", "changed")) == {"game"}


@pytest.mark.parametrize("target", ["outside.py", "nowhere.py", "folder", "../gameserver"])
def test_links_to_other_places_are_refused(project: Path, target: str) -> None:
    write(project / "outside.py")
    (project / "folder").mkdir()
    link = project / "gameserver" / "linked.py"
    link.symlink_to(project / target if not target.startswith(".") else target)
    with pytest.raises(ConfigError, match="a release consists of regular files, and this file") as refused:
        digests(project)
    assert refused.value.where == str(link)


def test_a_special_file_is_refused(project: Path) -> None:
    os.mkfifo(project / "terraform" / "pipe")
    with pytest.raises(ConfigError, match="is not a regular file"):
        digests(project)


@pytest.mark.parametrize("left", [(), ("README.md", "__pycache__/match.pyc")])
def test_a_release_without_game_server_files_is_refused(tmp_path: Path, left: tuple[str, ...]) -> None:
    for name in left:
        write(tmp_path / "gameserver" / name)
    with pytest.raises(NotFoundError, match="a release needs the game server"):
        game_files({"gameserver": tmp_path / "gameserver"})


class TestRules:
    """Tests rules modules outside of the game server, which an environment names by a dotted path."""

    @pytest.mark.parametrize("module", ["studio/chess.py", "studio/chess/__init__.py"])
    @pytest.mark.parametrize("place", ["project", "installed"])
    def test_the_whole_package_belongs_to_the_release(self, project: Path, place: str, module: str) -> None:
        folder = project.parent / place
        write(folder / module)
        write(folder / "studio" / "helpers.py")
        packages = rules_packages(["arena", "studio.chess"], project, [str(project.parent / "installed")])
        assert packages == {"studio": folder / "studio"}
        files = game_files({"gameserver": project / "gameserver", **packages})
        before = digest_of(files)
        assert {"gameserver/__init__.py", "studio/helpers.py", module} <= set(files)
        write(folder / "studio" / "helpers.py", "changed")
        assert digest_of(files) != before

    def test_a_package_in_the_checkout_takes_precedence_over_an_installed_package(self, project: Path) -> None:
        for folder in (project, project.parent / "installed"):
            write(folder / "studio" / "chess.py")
        packages = rules_packages(["studio.chess"], project, [str(project.parent / "installed")])
        assert packages == {"studio": project / "studio"}

    def test_rules_of_the_game_server_need_no_other_package(self, project: Path) -> None:
        assert rules_packages(["arena", "gameserver.rules.noughts"], project, []) == {}

    def test_a_missing_module_of_rules_is_refused(self, project: Path) -> None:
        write(project / "studio" / "checkers.py")
        with pytest.raises(NotFoundError, match=r"uses the rules module 'studio\.chess'") as refused:
            rules_packages(["studio.chess"], project, [])
        assert "put the package studio/ into" in str(refused.value.hint)
