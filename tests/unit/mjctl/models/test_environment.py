"""Tests of an environment's settings for AWS: the rejected combinations and the defaults."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from mjctl.models.environment import Environment

EAST, WEST = "us-east-1", "eu-west-1"


def zones(region: str) -> list[str]:
    return [f"{region}{letter}" for letter in "abc"]


def environment(*regions: str, **aws: Any) -> Environment:
    """Return an environment of target `aws`. A name of a region may include the VPC's range: us-east-1=10.0.0.0/16."""
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


def test_omitted_settings_have_defaults() -> None:
    settings = environment(EAST, WEST)
    assert settings.primary_region == EAST
    assert [settings.cidr(name) for name in (EAST, WEST)] == ["10.10.0.0/16", "10.20.0.0/16"]
    assert [settings.backup_copy_region(name) for name in (EAST, WEST)] == [WEST, EAST]


def test_the_target_sandbox_needs_the_section_aws() -> None:
    with pytest.raises(ValidationError, match="target sandbox needs this section"):
        Environment(name="x1", project="arena", target="sandbox", regions={EAST: {"zones": zones(EAST)}})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("regions", "aws", "message"),
    [
        ((EAST, WEST), {"primary_region": "ap-northeast-1"}, "aws.primary_region: ap-northeast-1 is not a region of"),
        ((EAST, WEST), {"database": {"writer_region": "ap-northeast-1"}}, "writer_region: ap-northeast-1 is not a"),
        ((EAST,), {}, "aws.backup.copy_region: backups of us-east-1, the only region,"),
        ((f"{EAST}=10.0.0.0/16", f"{WEST}=10.0.128.0/20"), {}, "10.0.128.0/20 overlaps 10.0.0.0/16, the range of us-"),
        ((f"{EAST}=10.0.0.0/24", WEST), {}, "the range of a VPC must be from /16 to /20"),
        ((f"{EAST}=10.0.1.0/16", WEST), {}, "has host bits set"),
        ((EAST, WEST), {"account_id": "12345"}, "account_id"),
        ((EAST, WEST), {"domain": {"name": "not a domain"}}, "domain.name"),
        ((EAST, WEST), {"database": {"instances": 1}}, "instances"),
    ],
)
def test_invalid_settings_are_rejected(regions: tuple[str, ...], aws: dict[str, Any], message: str) -> None:
    assert message in refusal(*regions, **aws)


def test_the_names_of_project_and_environment_have_22_characters_together() -> None:
    with pytest.raises(ValidationError, match="22 characters"):
        environment(EAST, WEST).model_validate(
            {**environment(EAST, WEST).model_dump(), "project": "arena-of-giants", "name": "production"}
        )
