"""The options and arguments that several commands share.

The module of a command defines the options that only this command has.

`mjctl.cli.group` derives the environment variable of each option from the option's name. An option sets `envvar` only
if its environment variable has a name other than the derived name.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mjctl.cli.session import OutputFormat

# The headings of options in the help of a command that has many options.
ROLLOUT = "Rollout"
GATE = "Health gate"
_REGIONS = "Environment and regions"
_SAFETY = "Confirmation"
_REPORTS = "Output and reports"
_RUN = "Lock and history"

# Options that select the environment and its regions.

EnvOption = Annotated[
    str,
    typer.Option(
        "--env",
        "-e",
        metavar="NAME",
        help="Name of the environment: the name of its file in configs/.",
        rich_help_panel=_REGIONS,
    ),
]
RegionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--region",
        "-r",
        metavar="REGION",
        help="Region to work on. For several regions, repeat the option or separate the names by commas.",
        rich_help_panel=_REGIONS,
    ),
]
AllRegionsOption = Annotated[
    bool,
    typer.Option(
        "--all-regions",
        help="Work on every region of the environment. Either --region or --all-regions is required.",
        rich_help_panel=_REGIONS,
    ),
]
WholeEnvironmentOption = Annotated[
    bool,
    typer.Option(
        "--all-regions", help="Work on every region of the environment, which is the default.", rich_help_panel=_REGIONS
    ),
]
EveryRegionOption = Annotated[
    bool,
    typer.Option(
        "--all-regions", help="Work on every deployed region, which is the default.", rich_help_panel=_REGIONS
    ),
]
NamedRegionsOption = Annotated[
    bool,
    typer.Option(
        "--all-regions",
        help="Work on every deployed region. Either --region or --all-regions is required.",
        rich_help_panel=_REGIONS,
    ),
]

# Options for the output of a command and for its confirmation.

OutputOption = Annotated[
    OutputFormat,
    typer.Option(
        "--output",
        "-o",
        help="Format of the result on stdout: text for people, json for programs.",
        rich_help_panel=_REPORTS,
    ),
]
# Every command that asks for confirmation accepts --yes and --auto-approve, because without a terminal each
# of these commands fails and recommends --yes.
YesOption = Annotated[
    bool,
    typer.Option(
        "--yes",
        "-y",
        "--auto-approve",
        help="Confirm the change in advance: the command does not ask.",
        rich_help_panel=_SAFETY,
    ),
]
DryRunOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Show what the command would do, and change nothing.", rich_help_panel=_SAFETY),
]
JUnitOption = Annotated[
    Path | None,
    typer.Option("--junit", metavar="PATH", help="Write a JUnit report for CI to this file.", rich_help_panel=_REPORTS),
]

# Options of commands that run Terraform.

LockTimeoutOption = Annotated[
    float,
    typer.Option(
        "--lock-timeout",
        min=0,
        metavar="SECONDS",
        help="Seconds to wait for a region that another run has locked. With "
        "--lock-timeout 0, the command fails at once if the region is locked.",
        rich_help_panel=_RUN,
    ),
]
MessageOption = Annotated[
    str | None,
    typer.Option(
        "--message",
        "-m",
        metavar="TEXT",
        help="Reason for this run. The history keeps the reason, and other runs show it while they wait for this run.",
        rich_help_panel=_RUN,
    ),
]
AllowDataLossOption = Annotated[
    bool,
    typer.Option(
        "--allow-data-loss",
        help="Apply a plan even if it deletes or replaces a data store or an encryption key.",
        rich_help_panel=_SAFETY,
    ),
]
BriefOption = Annotated[
    bool,
    typer.Option(
        "--brief", help="Show the names of changed resources without old and new values.", rich_help_panel=_REPORTS
    ),
]
SummaryFileOption = Annotated[
    Path | None,
    typer.Option(
        "--summary-file",
        metavar="PATH",
        help="Write a Markdown summary for a pull request to this file.",
        rich_help_panel=_REPORTS,
    ),
]

# Options of the health gate.

SoakOption = Annotated[
    float,
    typer.Option(
        "--soak",
        min=0,
        max=86_400,
        metavar="SECONDS",
        help="Seconds for which the gate observes a changed region. Even with --soak 0, the gate checks the "
        "region at least once.",
        rich_help_panel=GATE,
    ),
]
MaxFailuresOption = Annotated[
    int,
    typer.Option(
        "--max-failures",
        min=0,
        metavar="COUNT",
        help="Largest number of failed checks with which the gate still counts a region as healthy.",
        rich_help_panel=GATE,
    ),
]
GateThresholdOption = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold",
        metavar="NAME=VALUE",
        help="Limit at which a health check of the gate warns or fails, such as queue_depth_warn=500. Repeatable.",
        rich_help_panel=GATE,
    ),
]

# Options of `mjctl backup`.


class BackupKind(StrEnum):
    """Names the maker of a backup: mjctl writes a portable backup, AWS makes a managed backup."""

    PORTABLE = "portable"
    MANAGED = "managed"


class PartChoice(StrEnum):
    """Names a kind of data store that a backup contains."""

    DATABASE = "database"
    TABLE = "table"
    CACHE = "cache"


KindOption = Annotated[
    BackupKind,
    typer.Option(
        "--kind",
        envvar="MJCTL_BACKUP_KIND",
        help="portable: an encrypted archive that mjctl writes to a store. managed: backups and snapshots that AWS "
        "makes and keeps.",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="MJCTL_BACKUP_STORE",
        metavar="LOCATION",
        help="Store of portable backups: s3://BUCKET/PREFIX or a directory. Default: backup.store of the environment's "
        "file, or else the store that the region's stack provides.",
    ),
]
OnlyOption = Annotated[
    list[PartChoice] | None,
    typer.Option(
        "--only",
        envvar="MJCTL_BACKUP_ONLY",
        metavar="database|table|cache",
        help="Limit the command to this kind of data store. Repeatable. Default: all kinds of data stores.",
    ),
]
BackupArgument = Annotated[
    str, typer.Argument(metavar="BACKUP", help="Id of a backup, as `mjctl backup list` shows it, or `latest`.")
]

# Arguments of `mjctl cache` and `mjctl queue`.

KeyArgument = Annotated[
    str, typer.Argument(metavar="KEY", help="Key in the cache: <namespace>:<key>, for example profile:3f2a.")
]
QueueArgument = Annotated[
    str, typer.Argument(metavar="QUEUE", help="Name of the queue, as `mjctl queue list` shows it.")
]
