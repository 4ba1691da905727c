"""Tests that the stage finds the region, the service and the API in the names of AWS's endpoints."""

from __future__ import annotations

import pytest

from mjctl.sandbox.stage import aws_names


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sqs.eu-west-1.amazonaws.com", "eu-west-1"),
        ("streams.dynamodb.eu-west-1.amazonaws.com", "eu-west-1"),
        ("a.b.s3.us-east-1.amazonaws.com", "us-east-1"),
        ("iam.amazonaws.com", None),
        ("a.s3.amazonaws.com", None),
        ("sqs.eu-west-1.example.com", None),
    ],
)
def test_a_regional_name_has_a_region(host: str, region: str | None) -> None:
    assert aws_names.region_of(host) == region


@pytest.mark.parametrize(
    ("service", "path", "accepted"),
    [
        ("dynamodb", "/", True),
        ("dynamodb", "/x", False),
        ("sqs", "/123456789012/queue.fifo", True),
        ("sqs", "/queue", False),
        ("email", "/v2/email/outbound-emails", True),
        ("lambda", "/2015-03-31/functions", True),
    ],
)
def test_only_services_with_resources_in_the_path_have_paths(service: str, path: str, accepted: bool) -> None:
    assert aws_names.accepts_path(service, path) is accepted


def test_the_default_endpoint_of_an_api_names_the_api() -> None:
    assert aws_names.api_of("a1b2c3d4.execute-api.eu-west-1.amazonaws.com") == "a1b2c3d4"
    assert aws_names.api_of("d-a1b2c3.execute-api.eu-west-1.amazonaws.com") is None
    assert aws_names.api_of("sqs.eu-west-1.amazonaws.com") is None
