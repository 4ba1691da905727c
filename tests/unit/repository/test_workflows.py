"""The pipelines call nothing but mjctl, and with command lines that its parser takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mjctl.cli.app import tree
from mjctl.models.workspace import Workspace

PROJECT = Workspace.discover(Path(__file__)).project_dir
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
INSTALL = "python -m pip install '.[engine]'"
ACTIONS = {
    "actions/checkout",
    "actions/setup-python",
    "actions/upload-artifact",
    "aws-actions/configure-aws-credentials",
}


def parse(line: str) -> None:
    """Have the real parser read one command line, without running it."""
    program, *words = shlex.split(line)
    assert program == "mjctl", line
    command: Any = tree()
    context = command.make_context("mjctl", [], resilient_parsing=True)
    while getattr(command, "commands", None):
        name = words.pop(0)
        assert name in command.commands, f"{line}: no command {name}"
        command = command.commands[name]
    command.make_context(command.name, words, parent=context)


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in yaml.safe_load(path.read_text())["jobs"].values():
        yield from job["steps"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_mjctl_and_nothing_else(path: Path) -> None:
    lines = [step["run"].strip() for step in steps(path) if "run" in step]
    assert lines[0] == INSTALL
    assert len(lines) > 1
    for line in lines[1:]:
        parse(line)
    used = {step["uses"].split("@")[0] for step in steps(path) if "uses" in step}
    assert {"actions/checkout", "aws-actions/configure-aws-credentials"} <= used <= ACTIONS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_no_stored_secret_and_the_least_rights(path: Path) -> None:
    text = path.read_text()
    assert "secrets." not in text
    document = yaml.safe_load(text)
    assert document["permissions"] == {"contents": "read", "id-token": "write"}
    assert all("timeout-minutes" in job for job in document["jobs"].values())


def test_the_four_workflows_are_there() -> None:
    assert [path.stem for path in WORKFLOWS] == ["deploy", "drift", "drill", "plan"]


def subject_of(document: dict[str, Any], job: dict[str, Any], environment: str) -> str:
    """The claim `sub` of a job's OIDC token, as GitHub makes it."""
    if "environment" in job:
        return f"repo:studio/arena:environment:{environment}"
    # YAML 1.1 reads the key `on` as true.
    return (
        "repo:studio/arena:pull_request"
        if "pull_request" in document[True]
        else "repo:studio/arena:ref:refs/heads/main"
    )


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_takes_a_role_that_its_environment_gives_it(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    (job,) = document["jobs"].values()
    matrix = job.get("strategy", {}).get("matrix", {})
    (log_in,) = [step for step in job["steps"] if "configure-aws-credentials" in step.get("uses", "")]
    role = log_in["with"]["role-to-assume"]
    if "include" in matrix:
        assert role == "${{ matrix.role }}"
        chosen = {one["environment"]: one["role"] for one in matrix["include"]}
    else:
        chosen = dict.fromkeys(matrix.get("environment", [job["env"]["MJCTL_ENV"]]), role)
    assert chosen
    for environment, variable in chosen.items():
        found = re.fullmatch(r"\$\{\{ vars\.MJCTL_(PLAN|DEPLOY|DRILL)_ROLE(?:_(\w+))? \}\}", variable)
        assert found, variable
        # A variable of the repository is of one environment; one without a name belongs to the GitHub environment.
        assert (found[2] or "").lower() == ("" if "environment" in job else environment)
        config = yaml.safe_load((PROJECT / "configs" / f"{environment}.yaml").read_text())
        subjects = config["aws"]["pipeline"]["subjects"]
        assert subject_of(document, job, environment) in subjects[found[1].lower()]
        assert f"`{variable.removeprefix('${{ vars.').removesuffix(' }}')}`" in (PROJECT / "docs" / "ci.md").read_text()


def test_the_page_shows_command_lines_that_work() -> None:
    text = (PROJECT / "docs" / "ci.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    jobs = [job for job in yaml.safe_load(block).values() if isinstance(job, dict) and "script" in job]
    lines = [line for job in jobs for line in job["script"]]
    lines += [line for line in re.findall(r"`(mjctl [^`]+)`", text) if " " in line]
    assert len(lines) > 8
    for line in lines:
        parse(line)


@pytest.mark.parametrize("line", ["mjctl deplyo", "mjctl deploy --stratgey canary", "mjctl deploy --strategy blue"])
def test_a_wrong_line_would_be_found(line: str) -> None:
    with pytest.raises(Exception, match=r"(?i)no command|no such option|blue"):
        parse(line)
