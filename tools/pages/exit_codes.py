"""Generates docs/exit-codes.md: the exit codes of mjctl, and the steps that cure each error."""

from __future__ import annotations

from mjctl.models.exit_codes import ExitCode
from tools.pages.markdown import anchor, head, plain, table

_INTRODUCTION = """
Every command of `mjctl` ends with one of these codes, and their meaning never changes. An error is printed to stderr
with its cause, its place and the next step. With `--output json` the document on stdout has the same three texts
([JSON](cli.md#json)). `--log-file FILE` keeps a copy of stderr with times, and `--verbose` shows more of Terraform.
"""

# Exit code -> the situation in which a command ends with the code, and the steps that an operator takes, in order.
TROUBLESHOOTING: dict[ExitCode, tuple[str, tuple[str, ...]]] = {
    ExitCode.OK: ("The command has done its work.", ()),
    ExitCode.INTERNAL: (
        "The code of mjctl has a fault. The regions that the command had not reached are unchanged.",
        (
            "Find the traceback in the file that the error names (`mjctl-crash-....log` in the temporary folder).",
            "Run `mjctl status` and `mjctl history` to see which regions the command has changed.",
            "Report the traceback as a bug. A traceback holds no secret, but read the file before you publish it.",
        ),
    ),
    ExitCode.CHANGES_PENDING: (
        "`mjctl plan` or `mjctl drift` found a difference. Exit code 2 is no failure.",
        (
            "Read the changes that the command printed. `--brief` shows their names only.",
            "After `plan`: apply them with `mjctl deploy`, or pass `--allow-changes` if a pipeline must end with 0.",
            "After `drift`: `mjctl deploy` brings the region back to the recorded state. If you expect the difference, "
            "add its address to `drift.ignore` in the environment's file.",
        ),
    ),
    ExitCode.UNHEALTHY: (
        "A health check failed, a rollout stopped at its gate, or DNS does not name a region that it should name.",
        (
            "Run `mjctl health --problems`. Each failed check prints its own advice.",
            "If a rollout stopped: `mjctl history` shows the region and the revision. `mjctl rollback` applies the "
            "last good release.",
        ),
    ),
    ExitCode.PARTIAL: (
        "Some regions succeeded and others failed. The table names them, with the error of each.",
        (
            "Cure the error of each failed region. Its own code is in the field `error.code` of the JSON document.",
            "Repeat the command. Regions that are finished have no changes and stay as they are.",
        ),
    ),
    ExitCode.FAILED: (
        "Terraform failed in every region that the command named. Nothing, or a part of a region, was applied.",
        (
            "Read the first error of Terraform: the others often follow from it. `--log-file` keeps all of them.",
            "On the target `local`, read the logs in `.mjctl/ENVIRONMENT/REGION/logs/`. The error names the file.",
            "Repeat `mjctl deploy`. The deploy continues from the state that Terraform has saved.",
        ),
    ),
    ExitCode.LOCKED: (
        "Another run works on the region and holds its lock. The error names its user, machine and start.",
        (
            "Wait, or repeat the command with `--lock-timeout SECONDS`.",
            "If that run was killed on another machine, its lock expires after two minutes.",
            "`mjctl unlock --region REGION` removes the lock that Terraform has left in a state. `unlock` refuses "
            "while a run still works on the region.",
        ),
    ),
    ExitCode.CONFIG: (
        "The environment's file is missing or has a wrong value, or the current folder is in no mjctl project.",
        (
            "The error names the file, the line and the key. [Configuration](configuration.md) lists every key.",
            "Check the files with `mjctl config validate --all`.",
            "Outside of a checkout, set `MJCTL_PROJECT_DIR` to the folder that holds `configs/` and `terraform/`.",
        ),
    ),
    ExitCode.DEPENDENCY: (
        "A program or a package is missing: Terraform, PostgreSQL, Docker, or an extra of the installation.",
        (
            "Run `mjctl doctor`. `doctor` checks the machine and names the missing programs.",
            "The page [A local region](local.md#what-some-machines-need) lists machines that need more programs.",
        ),
    ),
    ExitCode.UNREACHABLE: (
        "A service did not answer in time, or AWS answered a request with an error that has no other exit code.",
        (
            "The error names the service and its answer. An answer such as `ValidationException` will not change: "
            "correct the value that it names.",
            "On the target `local`: `mjctl status` shows the processes, and `mjctl deploy` starts those that are gone.",
            "On AWS: check the network and the proxy, then `mjctl health --env ENVIRONMENT`.",
        ),
    ),
    ExitCode.PERMISSION: (
        "The file system refused access, the disk is full, or AWS did not accept the credentials.",
        (
            "`aws sts get-caller-identity` shows whose credentials are in use. `aws sso login` renews an expired "
            "session.",
            "If an action was denied, the error names the action. "
            "[Access for operators](aws.md#access-for-operators) lists the rights of each command.",
            "For a file: the error names its path. `MJCTL_HOME` moves the state of local regions to another folder.",
        ),
    ),
    ExitCode.CONFLICT: (
        "The state has changed since the plan was made, a port is in use, or data has another form than expected.",
        (
            "After a refused plan: run `mjctl plan` again and approve the new one.",
            "A port in use: the error names the port. Remove its pin from `local.ports`, or end the other program.",
        ),
    ),
    ExitCode.REFUSED: (
        "The command asks for a confirmation and did not get it, or the plan would delete players' data.",
        (
            "Without a terminal, pass `--yes` (or `--auto-approve`).",
            "If the plan deletes or replaces a data store, read it again. Only `--allow-data-loss` permits it.",
        ),
    ),
    ExitCode.NOT_FOUND: (
        "The region, server, queue, backup or key that the command line names does not exist.",
        (
            "List the existing names: `mjctl status`, `mjctl servers list`, `mjctl queue list`, `mjctl backup list`.",
            "Check `--env`. Without it a command works on the environment `local`, or on that of `MJCTL_ENV`.",
        ),
    ),
    ExitCode.VERIFICATION: (
        "The command has done its work, but a check of the result failed. For example, a backup could not be proven, "
        "SQS refused messages, or a load test found wrong results.",
        (
            "The report names the part that failed, for example `not proven: database`.",
            "After `mjctl queue redrive`: the refused messages are still in the dead-letter queue. "
            "`mjctl queue peek QUEUE` shows them.",
            "After `mjctl backup drill` or `verify`: make a new backup with `mjctl backup create`, and prove it.",
        ),
    ),
    ExitCode.USAGE: (
        "The command line has an unknown option or lacks an argument. The command has done nothing.",
        ("`mjctl COMMAND --help` shows the options and an example. [Commands](cli.md) has all of them.",),
    ),
    ExitCode.INTERRUPTED: (
        "Ctrl-C or SIGTERM stopped the command. Terraform has finished the resource in progress and saved its state.",
        ("Repeat the command. The command continues from the saved state.",),
    ),
}


def page() -> str:
    """Return the whole page."""
    rows = [(f"[{int(code)}](#{anchor(_heading(code))})", f"`{code.name}`", plain(code.meaning)) for code in ExitCode]
    sections = [_section(code) for code in ExitCode]
    return "\n".join([head("Exit codes", _INTRODUCTION), table(("code", "name", "meaning"), rows), *sections])


def _heading(code: ExitCode) -> str:
    return f"{int(code)} {code.name}"


def _section(code: ExitCode) -> str:
    text, steps = TROUBLESHOOTING[code]
    numbered = [f"{number}. {step}" for number, step in enumerate(steps, 1)]
    return "\n".join([f"## {_heading(code)}", "", text, "", *(("What to do:", "", *numbered, "") if numbered else ())])
