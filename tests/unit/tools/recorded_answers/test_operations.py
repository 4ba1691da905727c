"""Tests that the operation of a raw request is found in botocore's models."""

from __future__ import annotations

import pytest

from tools.recorded_answers.operations import RawRequest, operation_of

FORM = {"content-type": "application/x-www-form-urlencoded"}


def named(
    service: str, method: str, path: str, query: str = "", headers: dict[str, str] | None = None, body: bytes = b""
) -> str:
    scope = f"AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host"
    operation = operation_of(RawRequest(method, path, query, {"authorization": scope, **(headers or {})}, body))
    return f"{operation[0].service_model.service_name}.{operation[0].name} {operation[1]}" if operation else ""


@pytest.mark.parametrize(
    ("target", "operation"),
    [
        ("DynamoDB_20120810.PutItem", "dynamodb.PutItem json"),
        ("DynamoDBStreams_20120810.GetRecords", "dynamodbstreams.GetRecords json"),
        ("DynamoDB_20120810.Nothing", ""),
        ("Other.PutItem", ""),
    ],
)
def test_a_json_request_names_its_operation(target: str, operation: str) -> None:
    assert named("dynamodb", "POST", "/", headers={"x-amz-target": target}) == operation


def test_a_form_names_its_operation() -> None:
    body = b"Action=DescribeVpcs&Version=2016-11-15"
    assert named("ec2", "POST", "/", headers=FORM, body=body) == "ec2.DescribeVpcs ec2"
    body = b"Action=CreateRole&Version=2010-05-08"
    assert named("iam", "POST", "/", headers=FORM, body=body) == "iam.CreateRole query"
    assert named("iam", "POST", "/", headers=FORM, body=b"Action=CreateRole&Version=1999-01-01") == ""


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "operation"),
    [
        ("PUT", "/bucket", "", {}, "CreateBucket"),
        ("PUT", "/bucket", "policy", {}, "PutBucketPolicy"),
        ("PUT", "/bucket/a/b", "", {}, "PutObject"),
        ("PUT", "/bucket/a/b", "", {"x-amz-copy-source": "bucket/c"}, "CopyObject"),
        ("PUT", "/bucket/a", "partNumber=1&uploadId=u", {}, "UploadPart"),
        ("GET", "/bucket", "list-type=2", {}, "ListObjectsV2"),
        ("GET", "/", "", {}, "ListBuckets"),
    ],
)
def test_a_rest_request_is_routed(method: str, path: str, query: str, headers: dict[str, str], operation: str) -> None:
    assert named("s3", method, path, query, headers) == f"s3.{operation} rest-xml"


def test_two_services_can_have_one_signing_name() -> None:
    assert named("apigateway", "POST", "/v2/apis") == "apigatewayv2.CreateApi rest-json"
    assert named("apigateway", "POST", "/restapis") == "apigateway.CreateRestApi rest-json"


def test_a_cbor_request_names_its_operation_in_the_path() -> None:
    path = "/service/GraniteServiceVersion20100801/operation/PutMetricData"
    assert named("monitoring", "POST", path) == "cloudwatch.PutMetricData smithy-rpc-v2-cbor"


def test_an_unsigned_request_and_an_unknown_service_have_no_operation() -> None:
    assert operation_of(RawRequest("GET", "/", "", {}, b"")) is None
    assert named("nothing", "GET", "/") == ""
