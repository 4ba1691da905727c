"""Tests which ECS tasks the stage starts and stops: rolling updates, scaling, protection and unhealthy tasks."""

from __future__ import annotations

from mjctl.sandbox.stage.service_plan import ServiceGoal, ServicePlan, ServiceTask, TaskHealth, plan

PENDING, HEALTHY, UNHEALTHY = TaskHealth.PENDING, TaskHealth.HEALTHY, TaskHealth.UNHEALTHY


def old(name: str, health: TaskHealth = HEALTHY, *, protected: bool = False) -> ServiceTask:
    return ServiceTask(name, False, health, protected)


def new(name: str, health: TaskHealth = HEALTHY, *, protected: bool = False, zone: str = "") -> ServiceTask:
    return ServiceTask(name, True, health, protected, zone, created=name)


def test_a_new_service_starts_all_tasks() -> None:
    assert plan(ServiceGoal(3), []) == ServicePlan(3, (), ())


def test_a_settled_service_needs_no_step() -> None:
    assert plan(ServiceGoal(2), [new("a"), new("b")]).is_settled


def test_a_task_that_starts_counts_as_a_task() -> None:
    assert plan(ServiceGoal(2), [new("a"), new("b", PENDING)]).is_settled


def test_a_deployment_keeps_old_tasks_until_new_tasks_are_healthy() -> None:
    goal = ServiceGoal(2, is_rolling_out=True)
    assert plan(goal, [old("a"), old("b")]) == ServicePlan(2, (), ())
    assert plan(goal, [old("a"), old("b"), new("c", PENDING), new("d", PENDING)]).is_settled
    assert plan(goal, [old("a"), old("b"), new("c"), new("d", PENDING)]) == ServicePlan(0, ("a",), ())
    assert plan(goal, [old("b"), new("c"), new("d")]) == ServicePlan(0, ("b",), ())


def test_the_maximum_percent_limits_the_new_tasks() -> None:
    goal = ServiceGoal(4, maximum_percent=125, is_rolling_out=True)
    assert plan(goal, [old(name) for name in "abcd"]).start == 1
    assert plan(goal, [*(old(name) for name in "abcd"), new("e", PENDING)]).is_settled


def test_the_minimum_percent_allows_a_deployment_to_stop_old_tasks_first() -> None:
    goal = ServiceGoal(4, minimum_percent=50, maximum_percent=100, is_rolling_out=True)
    steps = plan(goal, [old(name) for name in "abcd"])
    assert (steps.start, len(steps.scale_in)) == (2, 2)


def test_the_minimum_percent_is_rounded_up() -> None:
    goal = ServiceGoal(3, minimum_percent=50, maximum_percent=100, is_rolling_out=True)
    assert len(plan(goal, [old(name) for name in "abc"]).scale_in) == 1


def test_a_deployment_waits_for_protected_tasks() -> None:
    goal = ServiceGoal(2, is_rolling_out=True)
    tasks = [old("a", protected=True), old("b"), new("c"), new("d")]
    assert plan(goal, tasks) == ServicePlan(0, ("b",), ())
    assert plan(goal, [tasks[0], *tasks[2:]]).is_settled


def test_a_protected_old_task_leaves_less_room_for_new_tasks() -> None:
    goal = ServiceGoal(1, maximum_percent=100, minimum_percent=0, is_rolling_out=True)
    assert plan(goal, [old("a", protected=True)]).is_settled
    assert plan(goal, [old("a")]) == ServicePlan(1, ("a",), ())


def test_a_scale_in_spares_protected_tasks_and_stops_others() -> None:
    tasks = [new("a"), new("b"), new("c", protected=True)]
    assert plan(ServiceGoal(1), tasks).scale_in == ("b", "a")
    assert plan(ServiceGoal(0), tasks).scale_in == ("b", "a")


def test_a_scale_in_stops_a_starting_task_first() -> None:
    assert plan(ServiceGoal(1), [new("a", PENDING), new("b")]).scale_in == ("a",)


def test_a_scale_in_keeps_the_zones_balanced() -> None:
    tasks = [new("a", zone="z1"), new("b", zone="z1"), new("c", zone="z2"), new("d", zone="z1")]
    assert plan(ServiceGoal(2), tasks).scale_in == ("d", "b")


def test_the_replacement_of_an_unhealthy_task_is_healthy_before_the_task_stops() -> None:
    goal = ServiceGoal(2)
    assert plan(goal, [new("a"), new("b", UNHEALTHY)]) == ServicePlan(1, (), ())
    assert plan(goal, [new("a"), new("b", UNHEALTHY), new("c", PENDING)]).is_settled
    assert plan(goal, [new("a"), new("b", UNHEALTHY), new("c")]) == ServicePlan(0, (), ("b",))


def test_without_room_unhealthy_tasks_are_replaced_one_after_another() -> None:
    goal = ServiceGoal(2, maximum_percent=100)
    assert plan(goal, [new("a", UNHEALTHY), new("b", UNHEALTHY)]) == ServicePlan(1, (), ("a",))
    assert plan(goal, [new("b", UNHEALTHY), new("c", PENDING)]).is_settled


def test_protection_does_not_keep_an_unhealthy_task() -> None:
    tasks = [new("a"), new("b"), new("c", UNHEALTHY, protected=True)]
    assert plan(ServiceGoal(2), tasks).unhealthy == ("c",)


def test_an_unhealthy_task_of_a_deployment_is_replaced_at_once() -> None:
    goal = ServiceGoal(1, is_rolling_out=True)
    assert plan(goal, [old("a"), new("b", UNHEALTHY)]) == ServicePlan(1, (), ("b",))


def test_a_pause_after_failures_starts_no_task() -> None:
    assert plan(ServiceGoal(2, may_start=0), []).is_settled
