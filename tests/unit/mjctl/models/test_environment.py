"""What an environment's file may not say of AWS, and what stands for what it leaves out."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from mjctl.models.environment import Environment

EAST, WEST = "us-east-1", "eu-west-1"


def zones(region: str) -> list[str]:
    return [f"{region}{letter}" for letter in "abc"]


def environment(*regions: str, **aws: Any) -> Environment:
    """Of target `aws`; a region may carry its range: us-east-1=10.0.0.0/16."""
    parts: dict[str, Any] = {}
    for region in regions:
        name, _, cidr = region.partition("=")
        parts[name] = {"zones": zones(name), **({"cidr": cidr} if cidr else {})}
    account = {"account_id": "123456789012", "domain": {"name": "arena.example.com"}, **aws}
    return Environment(name="prod", project="arena", target="aws", regions=parts, aws=account)  # type: ignore[arg-type]


def refusal(*regions: str, **aws: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        environment(*regions, **aws)
    return str(caught.value)


def test_what_is_left_out() -> None:
    made = environment(EAST, WEST)
    assert made.primary_region == EAST
    assert [made.cidr(name) for name in (EAST, WEST)] == ["10.10.0.0/16", "10.20.0.0/16"]
    assert [made.backup_copy_region(name) for name in (EAST, WEST)] == [WEST, EAST]


def test_a_production_environment_has_an_account() -> None:
    with pytest.raises(ValidationError, match="target sandbox needs it"):
        Environment(name="x1", project="arena", target="sandbox", regions={EAST: {"zones": zones(EAST)}})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("regions", "aws", "said"),
    [
        ((EAST, WEST), {"primary_region": "ap-northeast-1"}, "aws.primary_region: ap-northeast-1 is not among regions"),
        ((EAST, WEST), {"database": {"writer_region": "ap-northeast-1"}}, "writer_region: ap-northeast-1 is not among"),
        ((EAST,), {}, "aws.backup.copy_region: the only region needs another"),
        ((f"{EAST}=10.0.0.0/16", f"{WEST}=10.0.128.0/20"), {}, "10.0.128.0/20 overlaps that of us-east-1"),
        ((f"{EAST}=10.0.0.0/24", WEST), {}, "a VPC of three zones takes a /16 to a /20"),
        ((f"{EAST}=10.0.1.0/16", WEST), {}, "has host bits set"),
        ((EAST, WEST), {"account_id": "12345"}, "account_id"),
        ((EAST, WEST), {"domain": {"name": "not a domain"}}, "domain.name"),
        ((EAST, WEST), {"database": {"instances": 1}}, "instances"),
    ],
)
def test_what_is_refused(regions: tuple[str, ...], aws: dict[str, Any], said: str) -> None:
    assert said in refusal(*regions, **aws)


def test_names_made_of_project_and_environment_must_fit() -> None:
    with pytest.raises(ValidationError, match="22 characters"):
        environment(EAST, WEST).model_validate(
            {**environment(EAST, WEST).model_dump(), "project": "arena-of-giants", "name": "production"}
        )
