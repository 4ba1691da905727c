"""The workflows of the pipeline call only mjctl, with lines that its parser accepts. test.yml calls only make."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mjctl.cli.app import tree
from mjctl.models.workspace import Workspace

PROJECT = Workspace.discover(Path(__file__)).project_dir
TEST_WORKFLOW = PROJECT / ".github" / "workflows" / "test.yml"
# The GitHub workflows that operate an environment: all workflows except test.yml.
WORKFLOWS = sorted(set(TEST_WORKFLOW.parent.glob("*.yml")) - {TEST_WORKFLOW})
INSTALL = "python -m pip install '.[engine]'"
ACTIONS = {
    "actions/checkout",
    "actions/setup-python",
    "actions/upload-artifact",
    "aws-actions/configure-aws-credentials",
}


def parse(line: str) -> None:
    """Parse one command line with the real parser, without running it."""
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


def test_the_four_workflows_of_the_pipeline_exist() -> None:
    assert [path.stem for path in WORKFLOWS] == ["deploy", "drift", "drill", "plan"]


def test_the_tests_run_on_every_supported_python() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    lowest, excluded = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project["requires-python"]).groups()
    matrix = yaml.safe_load(TEST_WORKFLOW.read_text())["jobs"]["main-suite"]["strategy"]["matrix"]
    assert matrix["python"] == [f"3.{minor}" for minor in range(int(lowest), int(excluded))]


def test_the_test_workflow_runs_targets_of_the_makefile_and_the_ci_script() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    lines = [step["run"] for step in steps(TEST_WORKFLOW) if "run" in step]
    assert lines == ["make test", "make docs", ".ci/run"]
    assert all(f"\n{line.removeprefix('make ')}: " in makefile for line in lines if line.startswith("make "))
    assert (PROJECT / ".ci" / "run").is_file()


def test_the_test_workflow_reads_the_repository_and_nothing_else() -> None:
    document = yaml.safe_load(TEST_WORKFLOW.read_text())
    assert document["permissions"] == {"contents": "read"}
    assert "secrets." not in TEST_WORKFLOW.read_text()
    assert all("timeout-minutes" in job for job in document["jobs"].values())
    used = {step["uses"].split("@")[0] for step in steps(TEST_WORKFLOW) if "uses" in step}
    assert used <= {*ACTIONS, "hashicorp/setup-terraform"}


def subject_of(document: dict[str, Any], job: dict[str, Any], environment: str) -> str:
    """Return the claim `sub` of a job's OIDC token, as GitHub writes it."""
    if "environment" in job:
        return f"repo:studio/arena:environment:{environment}"
    # YAML 1.1 reads the key `on` of a workflow as the boolean true.
    return (
        "repo:studio/arena:pull_request"
        if "pull_request" in document[True]
        else "repo:studio/arena:ref:refs/heads/main"
    )


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_assumes_a_role_that_the_environment_grants(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    (job,) = document["jobs"].values()
    matrix = job.get("strategy", {}).get("matrix", {})
    (log_in,) = [step for step in job["steps"] if "configure-aws-credentials" in step.get("uses", "")]
    role = log_in["with"]["role-to-assume"]
    if "include" in matrix:
        assert role == "${{ matrix.role }}"
        chosen = {row["environment"]: row["role"] for row in matrix["include"]}
    else:
        chosen = dict.fromkeys(matrix.get("environment", [job["env"]["MJCTL_ENV"]]), role)
    assert chosen
    for environment, variable in chosen.items():
        parts = re.fullmatch(r"\$\{\{ vars\.MJCTL_(PLAN|DEPLOY|DRILL)_ROLE(?:_(\w+))? \}\}", variable)
        assert parts, variable
        # The name of a GitHub variable of the repository ends with the environment's name, but the name of a variable
        # of a GitHub environment does not.
        assert (parts[2] or "").lower() == ("" if "environment" in job else environment)
        config = yaml.safe_load((PROJECT / "configs" / f"{environment}.yaml").read_text())
        subjects = config["aws"]["pipeline"]["subjects"]
        assert subject_of(document, job, environment) in subjects[parts[1].lower()]
        assert f"`{variable.removeprefix('${{ vars.').removesuffix(' }}')}`" in (PROJECT / "docs" / "ci.md").read_text()


def test_the_page_shows_command_lines_that_work() -> None:
    text = (PROJECT / "docs" / "ci.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    jobs = [job for job in yaml.safe_load(block).values() if isinstance(job, dict) and "script" in job]
    lines = [line for job in jobs for line in job["script"]]
    mjctl = [line for line in lines if line.startswith("mjctl ")]
    mjctl += [line for line in re.findall(r"`(mjctl [^`]+)`", text) if " " in line]
    assert len(mjctl) > 8
    for line in mjctl:
        parse(line)


def test_the_gitlab_job_that_builds_the_image_has_docker_with_buildx() -> None:
    text = (PROJECT / "docs" / "ci.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    document = yaml.safe_load(block)
    jobs = {name: job for name, job in document.items() if isinstance(job, dict)}
    building = [name for name, job in jobs.items() if "mjctl package --push" in job.get("script", [])]
    assert building == ["deploy"]
    job = document["deploy"]
    # Debian 13 is the first release of Debian with a package of buildx.
    assert document["default"]["image"] == "python:3.13-trixie"
    assert "apt-get install --yes docker-cli docker-buildx" in " ".join(job["before_script"])
    assert any(str(service).startswith("docker:") for service in job["services"])
    assert {"DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"} <= set(job["variables"])


@pytest.mark.parametrize("line", ["mjctl deplyo", "mjctl deploy --stratgey canary", "mjctl deploy --strategy blue"])
def test_a_wrong_command_line_is_refused(line: str) -> None:
    with pytest.raises(Exception, match=r"(?i)no command|no such option|blue"):
        parse(line)
