"""Tests which servers count as departing, by the answers of ECS in the form of its API."""

from __future__ import annotations

from typing import Any

from gameserver.cluster.departures import Departures
from gameserver.server.fleet_watch import find_departures

CLUSTER = "arn:aws:ecs:us-east-1:111122223333:task/arena-prod"
OLD, NEW = (f"arn:aws:ecs:us-east-1:111122223333:task-definition/arena-prod-game:{number}" for number in (7, 8))


def task(name: str, definition: str, desired: str = "RUNNING", last: str = "RUNNING") -> dict[str, Any]:
    return {
        "desiredStatus": desired,
        "group": "service:arena-prod-game",
        "lastStatus": last,
        "taskArn": f"{CLUSTER}/{name}",
        "taskDefinitionArn": definition,
    }


def service(primary: str, *others: str) -> dict[str, Any]:
    active = [{"status": "ACTIVE", "taskDefinition": each} for each in others]
    return {"deployments": [*active, {"status": "PRIMARY", "taskDefinition": primary}]}


def test_a_server_whose_target_is_deregistered_is_stopping() -> None:
    tasks = [task("a", OLD), task("b", OLD, "STOPPED", "DEACTIVATING")]
    assert find_departures(tasks, service(OLD)) == Departures(frozenset({"game-b"}))


def test_old_servers_are_outdated_as_soon_as_one_new_server_is_alive() -> None:
    old = [task("a", OLD), task("b", OLD)]
    assert find_departures(old, service(NEW, OLD)) == Departures()
    departing = find_departures([*old, task("c", NEW)], service(NEW, OLD))
    assert departing == Departures(frozenset(), frozenset({"game-a", "game-b"}))


def test_a_new_server_that_stops_does_not_replace_the_old_servers() -> None:
    tasks = [task("a", OLD), task("b", NEW, "STOPPED", "STOPPING")]
    assert find_departures(tasks, service(NEW, OLD)) == Departures(frozenset({"game-b"}))


def test_after_a_rollback_the_failed_servers_are_outdated() -> None:
    tasks = [task("a", OLD), task("b", NEW)]
    assert find_departures(tasks, service(OLD, NEW)) == Departures(frozenset(), frozenset({"game-b"}))


def test_without_a_service_only_stopping_servers_depart() -> None:
    tasks = [task("a", OLD), task("b", OLD, "STOPPED", "DEACTIVATING")]
    assert find_departures(tasks, {}) == Departures(frozenset({"game-b"}))
