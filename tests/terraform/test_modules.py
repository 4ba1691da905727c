"""Modules and stacks: formatted, in order, valid with the real provider, described by READMEs whose examples work."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import terraform_cli

from gameserver.functions.routes import ROUTES
from mjctl.sandbox.emulators import Emulators
from tools import module_docs

MODULES = module_docs.module_folders()
STACKS = [module_docs.STACKS_DIR / name for name in ("bootstrap", "edge", "foundation", "region")]


def by_name(folder: Path) -> str:
    return folder.name


def test_everything_is_formatted(tmp_path: Path) -> None:
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-recursive", "-diff", str(terraform_cli.TERRAFORM_DIR)],
        env=terraform_cli.environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("folder", [*MODULES, *STACKS], ids=by_name)
@pytest.mark.parametrize("kind", ["variable", "output"])
def test_declarations_are_described_and_in_alphabetical_order(folder: Path, kind: str) -> None:
    found = module_docs.declarations(folder, kind)
    assert [d.name for d in found] == sorted(d.name for d in found)
    assert [d.name for d in found if not d.description] == []


@pytest.mark.parametrize("folder", MODULES, ids=by_name)
def test_readme_is_up_to_date(folder: Path) -> None:
    assert (folder / "README.md").read_text(encoding="utf-8") == module_docs.rendered(folder), (
        "run: python tools/module_docs.py"
    )


@pytest.mark.parametrize("folder", [*MODULES, *STACKS], ids=by_name)
def test_provider_versions_are_those_the_project_supports(folder: Path) -> None:
    text = (folder / "versions.tf").read_text(encoding="utf-8")
    assert 'version = ">= 5.100, < 7.0"' in text
    assert 'required_version = ">= 1.11"' in text


def test_every_module_is_used_by_a_stack() -> None:
    sources = "".join(f.read_text() for f in module_docs.STACKS_DIR.glob("*/*.tf"))
    sources += "".join(f.read_text() for f in module_docs.MODULES_DIR.glob("*/*.tf"))
    unused = [m.name for m in MODULES if f'/{m.name}"' not in sources]
    assert unused == []


def test_every_output_of_a_module_is_used() -> None:
    everything = "".join(
        f.read_text() for root in (module_docs.STACKS_DIR, module_docs.MODULES_DIR) for f in root.glob("*/*.tf")
    )
    unused = [
        f"{module.name}.{output.name}"
        for module in MODULES
        for output in module_docs.declarations(module, "output")
        if not re.search(rf"module\.\w+(\[\w+\])?\.{output.name}\b", everything)
    ]
    assert unused == []


def test_the_api_has_the_routes_that_the_functions_answer() -> None:
    text = (module_docs.STACKS_DIR / "region" / "api.tf").read_text(encoding="utf-8")
    found = re.findall(
        r'^    "([A-Z]+) (/\S+)"\s+= \{ authorized = (true|false), target = "(\w+)" \}', text, re.MULTILINE
    )
    assert {(method, path, authorized == "true") for method, path, authorized, _ in found} == {
        (route.method, route.path, route.player) for route in ROUTES
    }


def test_readme_examples_are_valid_with_the_real_provider(tree: Path, tmp_path: Path) -> None:
    root = tree / "stacks" / "examples"
    root.mkdir()
    providers = ["", '  alias = "copy"\n', '  alias = "us_east_1"\n']
    text = "".join(f'provider "aws" {{\n{p}  region = "us-east-1"\n}}\n' for p in providers)
    for module in MODULES:
        example = re.search(r"```hcl\n(.*?)```", (module / "README.md").read_text(encoding="utf-8"), re.DOTALL)
        assert example, f"{module.name} has no example"
        text += example[1]
    (root / "main.tf").write_text(text, encoding="utf-8")
    assert "Success!" in terraform_cli.initialised(root, tmp_path).run("validate", "-no-color")


def test_examples_are_formatted_as_code_is(tmp_path: Path) -> None:
    for module in MODULES:
        example = re.search(r"```hcl\n(.*?)```", (module / "README.md").read_text(encoding="utf-8"), re.DOTALL)
        assert example
        (tmp_path / f"{module.name}.tf").write_text(example[1], encoding="utf-8")
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", str(tmp_path)],
        env=terraform_cli.environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_bootstrap_is_valid_with_the_real_provider(tree: Path, tmp_path: Path) -> None:
    root = terraform_cli.initialised(tree / "stacks" / "bootstrap", tmp_path)
    assert "Success!" in root.run("validate", "-no-color")


@pytest.mark.infra  # planning production validates these too
@pytest.mark.parametrize("stack", ["edge", "foundation", "region"])
def test_stack_is_valid_with_the_real_provider(stack: str, tree: Path, tmp_path: Path) -> None:
    root = terraform_cli.initialised(tree / "stacks" / stack, tmp_path)
    assert "Success!" in root.run("validate", "-no-color")


@pytest.mark.infra
@pytest.mark.parametrize("folder", MODULES, ids=by_name)
def test_the_modules_own_tests_pass(folder: Path, tree: Path, emulator: Emulators, tmp_path: Path) -> None:
    root = terraform_cli.initialised(tree / "modules" / folder.name, tmp_path, emulator.endpoints())
    assert "Success!" in root.run("test", "-no-color")
