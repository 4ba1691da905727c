"""The plans of configs/prod.yaml keep every rule, and a plan that breaks a rule is caught."""

from __future__ import annotations

import pytest
from breakages import BREAKAGES, Breakage

from tools import well_architected
from tools.plan_model import UNKNOWN, Plan

pytestmark = [pytest.mark.infra, pytest.mark.timeout(600)]


@pytest.mark.parametrize("name", sorted(well_architected.RULES))
def test_production_keeps_the_rule(name: str, prod_plans: list[Plan]) -> None:
    report = well_architected.check(name, prod_plans)
    assert report.broken == []
    assert report.looked_at > 0


@pytest.mark.parametrize("breakage", BREAKAGES, ids=str)
def test_a_plan_that_breaks_the_rule_is_caught(breakage: Breakage, prod_plans: list[Plan]) -> None:
    broken = breakage.apply(prod_plans)
    assert well_architected.check(breakage.rule, broken).broken != []


def test_every_rule_has_a_plan_that_breaks_it() -> None:
    assert {breakage.rule for breakage in BREAKAGES} == set(well_architected.RULES)


@pytest.mark.parametrize("name", sorted(well_architected.RULES))
def test_a_rule_that_finds_nothing_to_look_at_does_not_hold(name: str, prod_plans: list[Plan]) -> None:
    empty = [Plan(p.name, p.region, {**p.document, "resource_changes": []}) for p in prod_plans]
    try:
        report = well_architected.check(name, empty)
    except (IndexError, StopIteration):
        return
    assert report.looked_at == 0 or report.broken != []


def test_what_is_unknown_compares_with_nothing() -> None:
    assert not UNKNOWN
    comparisons = [UNKNOWN == 1, UNKNOWN != 1, UNKNOWN < 1, UNKNOWN <= 1, UNKNOWN > 1, UNKNOWN >= 1]
    assert comparisons == [False] * 6
    assert UNKNOWN not in ("ON", "OPTIONAL")
