"""Tests that the plans of configs/prod.yaml obey every rule, and that each rule detects a plan that breaks it."""

from __future__ import annotations

import pytest
from breakages import BREAKAGES, Breakage

from tools import well_architected
from tools.plan_model import UNKNOWN, Plan

pytestmark = [pytest.mark.infra, pytest.mark.timeout(600)]


@pytest.mark.parametrize("name", sorted(well_architected.RULES))
def test_production_obeys_the_rule(name: str, prod_plans: list[Plan]) -> None:
    report = well_architected.check(name, prod_plans)
    assert report.broken == []
    assert report.looked_at > 0


@pytest.mark.parametrize("breakage", BREAKAGES, ids=str)
def test_a_plan_that_breaks_the_rule_is_detected(breakage: Breakage, prod_plans: list[Plan]) -> None:
    broken = breakage.apply(prod_plans)
    assert well_architected.check(breakage.rule, broken).broken != []


def test_every_rule_has_a_plan_that_breaks_it() -> None:
    assert {breakage.rule for breakage in BREAKAGES} == set(well_architected.RULES)


@pytest.mark.parametrize("name", sorted(well_architected.RULES))
def test_a_rule_without_a_resource_to_check_fails(name: str, prod_plans: list[Plan]) -> None:
    empty = [Plan(p.name, p.region, {**p.document, "resource_changes": []}) for p in prod_plans]
    try:
        report = well_architected.check(name, empty)
    except (IndexError, StopIteration):
        return
    assert report.looked_at == 0 or report.broken != []


def test_an_unknown_value_is_equal_to_nothing() -> None:
    assert not UNKNOWN
    comparisons = [UNKNOWN == 1, UNKNOWN != 1, UNKNOWN < 1, UNKNOWN <= 1, UNKNOWN > 1, UNKNOWN >= 1]
    assert comparisons == [False] * 6
    assert UNKNOWN not in ("ON", "OPTIONAL")
