"""A failover moves the writer of an Aurora global database with the players, in the emulated RDS and Route 53."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from mjctl.clients.global_database import Copy
from mjctl.fleet import failover_writer
from mjctl.models.exit_codes import ExitCode
from mjctl.sandbox.emulators import Emulators
from tests.integration.mjctl import production
from tests.integration.mjctl.conftest import CommandLine
from tests.integration.mjctl.production import NAME, OTHER_REGION, REGION

GLOBAL = f"{NAME}-global"


class World:
    """Simulates two regions on an emulated AWS. The databases of the two regions are a global cluster with the writer
    in REGION."""

    def __init__(self, emulators: Emulators) -> None:
        self.emulators = emulators
        regions = {region: production.build(emulators, region) for region in (REGION, OTHER_REGION)}
        rds, other_rds = (emulators.client("rds", region) for region in (REGION, OTHER_REGION))
        name = f"{NAME}-{OTHER_REGION}"
        for instance in other_rds.describe_db_instances()["DBInstances"]:
            other_rds.delete_db_instance(DBInstanceIdentifier=instance["DBInstanceIdentifier"], SkipFinalSnapshot=True)
        other_rds.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True)
        own = rds.describe_db_clusters(DBClusterIdentifier=f"{NAME}-{REGION}")["DBClusters"][0]["DBClusterArn"]
        rds.create_global_cluster(GlobalClusterIdentifier=GLOBAL, SourceDBClusterIdentifier=own)
        other_rds.create_db_cluster(
            DBClusterIdentifier=name,
            Engine="aurora-postgresql",
            EngineVersion="16.8",
            GlobalClusterIdentifier=GLOBAL,
        )
        for number, zone in enumerate("ab", 1):
            other_rds.create_db_instance(
                DBInstanceIdentifier=f"{name}-{number}",
                DBClusterIdentifier=name,
                DBInstanceClass="db.r7g.large",
                Engine="aurora-postgresql",
                AvailabilityZone=f"{OTHER_REGION}{zone}",
            )
        self.contracts = {
            region: built.contract.model_copy(
                update={
                    "managed": built.contract.managed.model_copy(update={"database_global_cluster": GLOBAL})
                    if built.contract.managed
                    else None
                }
            )
            for region, built in regions.items()
        }

    def writer(self) -> str:
        answer = self.emulators.client("rds", REGION).describe_global_clusters(GlobalClusterIdentifier=GLOBAL)
        members = answer["GlobalClusters"][0]["GlobalClusterMembers"]
        (arn,) = [member["DBClusterArn"] for member in members if member["IsWriter"]]
        return str(arn.split(":")[3])

    def reset(self) -> None:
        if self.writer() != REGION:
            self.emulators.client("rds", REGION).switchover_global_cluster(
                GlobalClusterIdentifier=GLOBAL,
                TargetDbClusterIdentifier=f"arn:aws:rds:{REGION}:{self.emulators.account_id}:cluster:{NAME}-{REGION}",
            )
        assert self.writer() == REGION
        for region in (REGION, OTHER_REGION):
            production.set_flags(self.emulators, region, disabled=False, inverted=False)
            production.set_alarm(self.emulators, region, "OK")

    def left(self) -> set[str]:
        return {REGION, OTHER_REGION} - production.named_by_dns(self.emulators)

    def lag(self, region: str, milliseconds: float) -> None:
        self.emulators.client("cloudwatch", region).put_metric_data(
            Namespace="AWS/RDS",
            MetricData=[
                {
                    "MetricName": "AuroraGlobalDBReplicationLag",
                    "Dimensions": [
                        {"Name": "DBClusterIdentifier", "Value": f"{NAME}-{region}"},
                        {"Name": "SourceRegion", "Value": self.writer()},
                    ],
                    "Timestamp": datetime.now(UTC),
                    "Value": milliseconds,
                }
            ],
        )


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Emulators(tmp_path_factory.mktemp("emulators")) as running:
        yield World(running)


@pytest.fixture
def world(shared_world: World) -> World:
    """Return two regions that DNS includes, and move the writer back to REGION if an earlier test has moved the
    writer."""
    shared_world.reset()
    return shared_world


@pytest.fixture
def mjctl(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> CommandLine:
    command = CommandLine(world.contracts, capsys)
    monkeypatch.setenv("MJCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("mjctl.terraform.contracts.deployed_contracts", lambda *_: dict(command.contracts))
    return command


def steps(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(step["step"], step["outcome"]) for step in document["steps"]]


def test_a_rehearsal_names_the_steps_and_the_lag_and_changes_nothing(mjctl: CommandLine, world: World) -> None:
    world.lag(OTHER_REGION, 120)
    ran = mjctl("failover", "--region", REGION, "--dry-run", "-o", "json")
    assert ran.code == ExitCode.OK, ran.err
    document = ran.json()["regions"][0]
    assert steps(document) == [("writer", "planned"), ("traffic", "planned")]
    assert (document["writer"]["from"], document["writer"]["to"]) == (REGION, OTHER_REGION)
    assert document["writer"]["copies"] == [{"region": OTHER_REGION, "in_sync": True, "lag_ms": 120.0}]
    assert document["writer"]["data_loss_allowed"] is False
    assert "each function fails once" in document["note"], "the plan warns of calls that fail during the move"
    shown = mjctl("failover", "--region", REGION, "--dry-run")
    assert f"copy in {OTHER_REGION}: 120 ms behind" in shown.out
    assert (world.writer(), world.left()) == (REGION, set())


def test_players_stay_in_their_region_if_the_writer_cannot_move(
    mjctl: CommandLine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Choose a region outside of the global cluster, which RDS refuses in the same way as a cluster in a wrong
    state."""
    choose = failover_writer.choose

    def stranger(*given: Any) -> Copy:
        copy = choose(*given)
        return Copy(copy.region, f"{copy.arn}-stranger", copy.writes, copy.in_sync)

    monkeypatch.setattr(failover_writer, "choose", stranger)
    ran = mjctl("failover", "--region", REGION, "--yes", "-o", "json")
    assert ran.code not in (ExitCode.OK, ExitCode.INTERNAL), ran.err
    assert steps(ran.json()["regions"][0]) == [("writer", "failed"), ("traffic", "skipped")]
    assert ran.json()["regions"][0]["note"] is None
    assert (world.writer(), world.left()) == (REGION, set())


def test_an_interrupted_wait_tells_how_to_follow_the_move_and_moves_no_players(
    mjctl: CommandLine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(failover_writer, "_written_there", interrupted)
    ran = mjctl("failover", "--region", REGION, "--yes")
    assert ran.code == ExitCode.INTERRUPTED
    assert f"describe-global-clusters --global-cluster-identifier {GLOBAL}" in " ".join(ran.err.split())
    assert (world.writer(), world.left()) == (OTHER_REGION, set()), "AWS completes the move without mjctl"


def test_writer_and_players_leave_a_region_and_return(mjctl: CommandLine, world: World) -> None:
    left = mjctl("failover", "--region", REGION, "--to-region", OTHER_REGION, "--yes", "-o", "json")
    assert left.code == ExitCode.OK, left.err
    assert steps(left.json()["regions"][0]) == [("writer", "done"), ("traffic", "done")]
    assert (world.writer(), world.left()) == (OTHER_REGION, {REGION})

    opened = mjctl("failover", "--region", REGION, "--restore", "--yes", "-o", "json")
    assert opened.code == ExitCode.OK, opened.err
    assert steps(opened.json()["regions"][0]) == [("writer", "unchanged"), ("traffic", "done")]
    assert "--restore --with-writer" in opened.json()["regions"][0]["steps"][0]["summary"]
    assert (world.writer(), world.left()) == (OTHER_REGION, set())

    again = mjctl("failover", "--region", REGION, "--yes", "-o", "json")
    assert steps(again.json()["regions"][0]) == [("traffic", "done")], "the writer has left already"

    back = mjctl("failover", "--region", REGION, "--restore", "--with-writer", "--yes", "-o", "json")
    assert back.code == ExitCode.OK, back.err
    assert steps(back.json()["regions"][0]) == [("writer", "done"), ("traffic", "done")]
    assert (world.writer(), world.left()) == (REGION, set())


def test_players_leave_a_lost_region_with_allow_data_loss(mjctl: CommandLine, world: World) -> None:
    """Simulate the loss of the primary region: its fleet does not answer, and the players' accounts are lost."""
    lost = world.contracts[REGION]
    nowhere = dict.fromkeys((*lost.aws.service_endpoint_urls, "ecs", "rds"), "http://127.0.0.1:1")
    route53 = {"route_53": lost.aws.service_endpoint_urls.get("route_53", str(lost.aws.endpoint_url))}
    access = lost.aws.model_copy(update={"service_endpoint_urls": {**nowhere, **route53}})
    mjctl.add(REGION, lost.model_copy(update={"aws": access}))
    planned = mjctl("failover", "--region", REGION, "--dry-run", "--yes")
    assert planned.code == ExitCode.UNREACHABLE, "without the flag a silent region is an error"

    ran = mjctl("failover", "--region", REGION, "--allow-data-loss", "--yes", "-o", "json")
    assert ran.code == ExitCode.OK, ran.err
    document = ran.json()["regions"][0]
    assert steps(document) == [("writer", "done"), ("traffic", "done")]
    assert document["writer"]["data_loss_allowed"] is True
    assert document["traffic"] is None
    assert "identity" not in {probe["name"] for probe in document["probes"]}
    assert (world.writer(), world.left()) == (OTHER_REGION, {REGION})


@pytest.mark.parametrize(
    "options",
    [
        ("--restore", "--to-region", OTHER_REGION),
        ("--restore", "--allow-data-loss"),
        ("--with-writer",),
        ("--restore", "--dry-run"),
    ],
)
def test_options_that_exclude_each_other_are_a_usage_error(mjctl: CommandLine, options: tuple[str, ...]) -> None:
    assert mjctl("failover", "--region", REGION, *options).code == ExitCode.USAGE
