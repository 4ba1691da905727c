"""Modules and stacks: their format, their order, their READMEs with tested examples, and the modules' own tests."""

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
STACKS = module_docs.stack_folders()
# The module data_plane has a README with an example, and no Terraform code.
WITH_EXAMPLE = [*MODULES, module_docs.MODULES_DIR / "data_plane", *STACKS]
AWS_STACKS = [folder for folder in STACKS if folder.name != "local"]
AWS_MODULES = [folder for folder in MODULES if folder.name != "local_process"]


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
    declarations = module_docs.declarations(folder, kind)
    assert [d.name for d in declarations] == sorted(d.name for d in declarations)
    assert [d.name for d in declarations if not d.description] == []


@pytest.mark.parametrize("folder", [*MODULES, *STACKS], ids=by_name)
def test_readme_is_up_to_date(folder: Path) -> None:
    assert (folder / "README.md").read_text(encoding="utf-8") == module_docs.rendered(folder), (
        "run: python tools/module_docs.py"
    )


def test_the_list_of_modules_is_up_to_date_and_complete() -> None:
    index = (module_docs.MODULES_DIR / "README.md").read_text(encoding="utf-8")
    assert index == module_docs.rendered_index(), "run: python tools/module_docs.py"
    listed = [name for names in module_docs.FAMILIES.values() for name in names]
    folders = sorted(folder.name for folder in module_docs.MODULES_DIR.iterdir() if folder.is_dir())
    assert sorted(listed) == folders


def test_the_readme_of_terraform_links_every_stack() -> None:
    text = (module_docs.TERRAFORM_DIR / "README.md").read_text(encoding="utf-8")
    assert [stack.name for stack in STACKS if f"(stacks/{stack.name}/README.md)" not in text] == []


@pytest.mark.parametrize("folder", [*AWS_MODULES, *AWS_STACKS], ids=by_name)
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
    routes = re.findall(
        r'^    "([A-Z]+) (/\S+)"\s+= \{ authorized = (true|false), target = "(\w+)" \}', text, re.MULTILINE
    )
    assert {(method, path, authorized == "true") for method, path, authorized, _ in routes} == {
        (route.method, route.path, route.player) for route in ROUTES
    }


def example_as_module(folder: Path) -> str:
    """Return a folder's example as a module call. The example of a stack has the form of a tfvars file."""
    text = module_docs.example(folder)
    if folder.parent == module_docs.STACKS_DIR:
        return f'module "stack_{folder.name}" {{\n  source = "../{folder.name}"\n\n{text}}}\n'
    return text


def test_examples_are_valid_with_the_real_provider(tree: Path, tmp_path: Path) -> None:
    root = tree / "stacks" / "examples"
    root.mkdir()
    providers = ["", '  alias = "copy"\n', '  alias = "us_east_1"\n']
    text = "".join(f'provider "aws" {{\n{p}  region = "us-east-1"\n}}\n' for p in providers)
    text += "".join(example_as_module(folder) for folder in WITH_EXAMPLE)
    (root / "main.tf").write_text(text, encoding="utf-8")
    assert "Success!" in terraform_cli.initialised(root, tmp_path).run("validate", "-no-color")


def test_examples_are_formatted_as_code_is(tmp_path: Path) -> None:
    for folder in WITH_EXAMPLE:
        (tmp_path / f"{folder.parent.name}-{folder.name}.tf").write_text(module_docs.example(folder), encoding="utf-8")
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", str(tmp_path)],
        env=terraform_cli.environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.infra
@pytest.mark.parametrize("folder", MODULES, ids=by_name)
def test_the_modules_own_tests_pass(folder: Path, tree: Path, emulator: Emulators, tmp_path: Path) -> None:
    root = terraform_cli.initialised(tree / "modules" / folder.name, tmp_path, emulator.endpoints())
    assert "Success!" in root.run("test", "-no-color")
