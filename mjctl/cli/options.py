"""The options and arguments that several commands share. An option of a single command stands with its command.

`mjctl.cli.group` gives each option its environment variable; only a variable with another name stands here.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mjctl.cli.session import OutputFormat

# The headings of options in the help of a command with many of them.
ROLLOUT = "Rollout"
GATE = "Health gate"
_REGIONS = "Environment and regions"
_SAFETY = "Confirmation"
_REPORTS = "Output and reports"
_RUN = "Lock and history"

# Which environment and regions.

EnvOption = Annotated[
    str,
    typer.Option(
        "--env", "-e", metavar="NAME", help="Environment: the name of a file in configs/.", rich_help_panel=_REGIONS
    ),
]
RegionOption = Annotated[
    list[str] | None,
    typer.Option("--region", "-r", metavar="REGION", help="Region; repeat it for several.", rich_help_panel=_REGIONS),
]
AllRegionsOption = Annotated[
    bool, typer.Option("--all-regions", help="Every region of the environment.", rich_help_panel=_REGIONS)
]
EveryRegionOption = Annotated[
    bool, typer.Option("--all-regions", help="Every deployed region, as without --region.", rich_help_panel=_REGIONS)
]
NamedRegionsOption = Annotated[
    bool,
    typer.Option(
        "--all-regions", help="Every deployed region. Give either --region or this option.", rich_help_panel=_REGIONS
    ),
]

# How the command speaks, and whether it asks.

OutputOption = Annotated[
    OutputFormat, typer.Option("--output", "-o", help="text for people, json for programs.", rich_help_panel=_REPORTS)
]
# The only definition: every command that asks accepts both names, so that the hint is right for all of them.
YesOption = Annotated[
    bool, typer.Option("--yes", "-y", "--auto-approve", help="Do not ask for confirmation.", rich_help_panel=_SAFETY)
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.", rich_help_panel=_SAFETY)
]
JUnitOption = Annotated[
    Path | None,
    typer.Option("--junit", metavar="PATH", help="Write a JUnit report to this file.", rich_help_panel=_REPORTS),
]

# Commands that run Terraform.

LockTimeoutOption = Annotated[
    float,
    typer.Option(
        "--lock-timeout", min=0, metavar="SECONDS", help="Seconds to wait for a held region.", rich_help_panel=_RUN
    ),
]
MessageOption = Annotated[
    str | None,
    typer.Option(
        "--message",
        "-m",
        metavar="TEXT",
        help="Why: shown to whoever waits for the region, kept in the history.",
        rich_help_panel=_RUN,
    ),
]
AllowDataLossOption = Annotated[
    bool,
    typer.Option(
        "--allow-data-loss",
        help="Apply a plan although it deletes or replaces what holds players' data.",
        rich_help_panel=_SAFETY,
    ),
]
BriefOption = Annotated[
    bool, typer.Option("--brief", help="Show the names of changed resources without values.", rich_help_panel=_REPORTS)
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

# The health gate.

SoakOption = Annotated[
    float,
    typer.Option(
        "--soak",
        min=0,
        max=86_400,
        metavar="SECONDS",
        help="Seconds for which a changed region must stay healthy.",
        rich_help_panel=GATE,
    ),
]
MaxFailuresOption = Annotated[
    int,
    typer.Option(
        "--max-failures",
        min=0,
        metavar="COUNT",
        help="Failing checks with which a region still counts as healthy.",
        rich_help_panel=GATE,
    ),
]
GateThresholdOption = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold",
        metavar="NAME=VALUE",
        help="NAME=VALUE for the gate's checks, as in `mjctl health`; repeatable.",
        rich_help_panel=GATE,
    ),
]

# Backups.


class BackupKind(StrEnum):
    """The service that keeps a backup: mjctl itself, or AWS Backup."""

    PORTABLE = "portable"
    MANAGED = "managed"


class PartChoice(StrEnum):
    """A kind of store that a backup holds."""

    DATABASE = "database"
    TABLE = "table"
    CACHE = "cache"


KindOption = Annotated[
    BackupKind,
    typer.Option(
        "--kind",
        envvar="MJCTL_BACKUP_KIND",
        help="portable: an encrypted archive in a store of yours; managed: what AWS keeps by itself.",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="MJCTL_BACKUP_STORE",
        metavar="LOCATION",
        help="s3://BUCKET/PREFIX or a directory, not the usual one.",
    ),
]
OnlyOption = Annotated[
    list[PartChoice] | None,
    typer.Option(
        "--only",
        envvar="MJCTL_BACKUP_ONLY",
        metavar="database|table|cache",
        help="Only this kind of store; repeatable.",
    ),
]
BackupArgument = Annotated[str, typer.Argument(metavar="BACKUP", help="Id of a backup, or `latest`.")]

# The cache and the queues.

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="<namespace>:<key>, e.g. profile:3f2a.")]
QueueArgument = Annotated[
    str, typer.Argument(metavar="QUEUE", help="Name of the queue, as `mjctl queue list` shows it.")
]
