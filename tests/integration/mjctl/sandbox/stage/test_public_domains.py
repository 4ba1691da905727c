"""Tests that the API's domain and CloudFront answer over TLS, with certificates, DNS records and rules as on AWS."""

from __future__ import annotations

import io
import ipaddress
import json
import ssl
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from gameserver.functions.viewer import viewer_address
from tests.integration.mjctl.sandbox.stage.by_tls import Answer, StageCaller, running, trust

REGION = "eu-west-1"
ACCOUNT = "123456789012"
DOMAIN = "game.example.com"
API = f"api.{DOMAIN}"
BUCKET = "game-web"
CODE = """
import json

def handler(event, context):
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(event)}
"""


@dataclass(frozen=True)
class Site:
    """Names the resources that the tests change."""

    api: str
    client: str
    distribution: str
    zone: str


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StageCaller]:
    with running(tmp_path_factory.mktemp("stage"), "moto") as caller:
        yield caller


@pytest.fixture(scope="module")
def site(stage: StageCaller) -> Site:
    """Create an API, a CloudFront distribution with a bucket, and the DNS records of the API and the distribution."""
    zone = stage.plain("route53").create_hosted_zone(Name=DOMAIN, CallerReference="z")["HostedZone"]["Id"]
    api, client = _api(stage, zone)
    distribution = _distribution(stage, zone)
    stage.address(DOMAIN)
    stage.address(API)
    stage.address(f"cognito-idp.{REGION}.amazonaws.com")
    return Site(api, client, distribution["DomainName"], zone)


def _certificate(stage: StageCaller, region: str) -> str:
    arn: str = stage.plain("acm", region).request_certificate(
        DomainName=DOMAIN, SubjectAlternativeNames=[DOMAIN, f"*.{DOMAIN}"], ValidationMethod="DNS"
    )["CertificateArn"]
    return arn


def _alias(stage: StageCaller, zone: str, name: str, target: str, action: str = "UPSERT") -> None:
    record = {
        "Name": name,
        "Type": "A",
        "AliasTarget": {"HostedZoneId": "Z2FDTNDATAQYW2", "DNSName": target, "EvaluateTargetHealth": False},
    }
    stage.plain("route53").change_resource_record_sets(
        HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": record}]}
    )


def _api(stage: StageCaller, zone: str) -> tuple[str, str]:
    cognito = stage.plain("cognito-idp", REGION)
    pool = cognito.create_user_pool(PoolName="players")["UserPool"]["Id"]
    client = cognito.create_user_pool_client(
        UserPoolId=pool, ClientName="c", ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
    )["UserPoolClient"]["ClientId"]
    cognito.admin_create_user(UserPoolId=pool, Username="ada")
    cognito.admin_set_user_password(UserPoolId=pool, Username="ada", Password="Correct-horse-9", Permanent=True)
    role = stage.plain("iam").create_role(
        RoleName="api", AssumeRolePolicyDocument=trust({"Service": "lambda.amazonaws.com"})
    )["Role"]["Arn"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("code.py", CODE)
    functions = stage.plain("lambda", REGION)
    function = functions.create_function(
        FunctionName="api",
        Role=role,
        Runtime="python3.12",
        Handler="code.handler",
        Code={"ZipFile": archive.getvalue()},
    )["FunctionArn"]
    gateway = stage.plain("apigatewayv2", REGION)
    api = gateway.create_api(
        Name="api",
        ProtocolType="HTTP",
        DisableExecuteApiEndpoint=True,
        CorsConfiguration={"AllowOrigins": [f"https://{DOMAIN}"], "AllowMethods": ["GET"]},
    )["ApiId"]
    functions.add_permission(
        FunctionName="api",
        StatementId="s",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api}/*/*",
    )
    integration = gateway.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=function, PayloadFormatVersion="2.0"
    )["IntegrationId"]
    authorizer = gateway.create_authorizer(
        ApiId=api,
        AuthorizerType="JWT",
        IdentitySource=["$request.header.Authorization"],
        JwtConfiguration={
            "Audience": [client],
            "Issuer": f"https://cognito-idp.{REGION}.amazonaws.com/{pool}",
        },
        Name="player",
    )["AuthorizerId"]
    target = f"integrations/{integration}"
    for path in ("echo", "rare"):
        gateway.create_route(ApiId=api, RouteKey=f"GET /v1/{path}", Target=target)
    gateway.create_route(
        ApiId=api, RouteKey="GET /v1/profile", Target=target, AuthorizationType="JWT", AuthorizerId=authorizer
    )
    gateway.create_stage(
        ApiId=api,
        StageName="$default",
        AutoDeploy=True,
        DefaultRouteSettings={"ThrottlingBurstLimit": 50, "ThrottlingRateLimit": 50.0},
        RouteSettings={"GET /v1/rare": {"ThrottlingBurstLimit": 2, "ThrottlingRateLimit": 0.01}},
    )
    regional = gateway.create_domain_name(
        DomainName=API,
        DomainNameConfigurations=[
            {"CertificateArn": _certificate(stage, REGION), "EndpointType": "REGIONAL", "SecurityPolicy": "TLS_1_2"}
        ],
    )["DomainNameConfigurations"][0]["ApiGatewayDomainName"]
    gateway.create_api_mapping(ApiId=api, DomainName=API, Stage="$default")
    _alias(stage, zone, API, regional)
    return api, client


def _distribution(stage: StageCaller, zone: str) -> Any:
    s3, cloudfront = stage.plain("s3", REGION), stage.plain("cloudfront")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=BUCKET, Key="index.html", Body=b"<h1>game</h1>", ContentType="text/html")
    s3.put_object(Bucket=BUCKET, Key="sorry.html", Body=b"sorry", ContentType="text/html")
    control = cloudfront.create_origin_access_control(
        OriginAccessControlConfig={
            "Name": "web",
            "SigningProtocol": "sigv4",
            "SigningBehavior": "always",
            "OriginAccessControlOriginType": "s3",
        }
    )["OriginAccessControl"]["Id"]
    headers = cloudfront.create_response_headers_policy(
        ResponseHeadersPolicyConfig={
            "Name": "web",
            "SecurityHeadersConfig": {"FrameOptions": {"FrameOption": "DENY", "Override": True}},
        }
    )["ResponseHeadersPolicy"]["Id"]
    origins = [
        {
            "Id": "web",
            "DomainName": f"{BUCKET}.s3.{REGION}.amazonaws.com",
            "OriginAccessControlId": control,
            "S3OriginConfig": {"OriginAccessIdentity": ""},
        },
        {
            "Id": "api",
            "DomainName": API,
            "CustomOriginConfig": {"HTTPPort": 80, "HTTPSPort": 443, "OriginProtocolPolicy": "https-only"},
        },
    ]
    default = {
        "TargetOriginId": "web",
        "ViewerProtocolPolicy": "redirect-to-https",
        "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6",
        "ResponseHeadersPolicyId": headers,
        "AllowedMethods": {"Quantity": 2, "Items": ["GET", "HEAD"]},
    }
    to_api = {
        "PathPattern": "/v1/*",
        "TargetOriginId": "api",
        "ViewerProtocolPolicy": "https-only",
        "CachePolicyId": "4135ea2d-6df8-44a3-9df3-4b5a84be39ad",
        "OriginRequestPolicyId": "b689b0a8-53d0-40ab-baf2-68738e2966ac",
    }
    error = {"ErrorCode": 403, "ResponsePagePath": "/sorry.html", "ResponseCode": "404"}
    distribution = cloudfront.create_distribution(
        DistributionConfig={
            "CallerReference": "d",
            "Comment": "",
            "Enabled": True,
            "DefaultRootObject": "index.html",
            "Aliases": {"Quantity": 1, "Items": [DOMAIN]},
            "Origins": {"Quantity": 2, "Items": origins},
            "DefaultCacheBehavior": default,
            "CacheBehaviors": {"Quantity": 1, "Items": [to_api]},
            "CustomErrorResponses": {"Quantity": 1, "Items": [error]},
            "ViewerCertificate": {
                "ACMCertificateArn": _certificate(stage, "us-east-1"),
                "SSLSupportMethod": "sni-only",
                "MinimumProtocolVersion": "TLSv1.2_2021",
            },
        }
    )["Distribution"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "cloudfront.amazonaws.com"},
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{BUCKET}/*",
        "Condition": {"StringEquals": {"aws:SourceArn": distribution["ARN"]}},
    }
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    _alias(stage, zone, DOMAIN, distribution["DomainName"])
    return distribution


@pytest.mark.usefixtures("site")
class TestApi:
    def test_a_function_gets_the_event_of_format_2_with_the_address_of_the_client(self, stage: StageCaller) -> None:
        answer = stage.https(API, "/v1/echo?a=1&a=2", headers={"X-Forwarded-Proto": "http"})
        event = answer.document
        assert answer.status == 200
        assert event["version"] == "2.0"
        assert event["queryStringParameters"] == {"a": "1,2"}
        assert event["requestContext"]["domainName"] == API
        assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"
        assert event["headers"]["x-forwarded-proto"] == "https"
        assert event["headers"]["x-forwarded-for"] == "127.0.0.1"

    def test_the_api_answers_a_foreign_origin_by_its_configuration(self, stage: StageCaller) -> None:
        def preflight(origin: str) -> Answer:
            return stage.https(API, "/v1/echo", "OPTIONS", {"Origin": origin, "Access-Control-Request-Method": "GET"})

        assert preflight(f"https://{DOMAIN}").headers["access-control-allow-origin"] == f"https://{DOMAIN}"
        assert "access-control-allow-origin" not in preflight("https://evil.example.com").headers

    def test_the_authorizer_accepts_tokens_of_the_pool_only(self, stage: StageCaller, site: Site) -> None:
        assert stage.https(API, "/v1/profile").status == 401
        forged = {"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.x"}
        assert stage.https(API, "/v1/profile", headers=forged).status == 401
        cognito = stage.client("cognito-idp", REGION, unsigned=True)
        token = cognito.initiate_auth(
            ClientId=site.client,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": "ada", "PASSWORD": "Correct-horse-9"},
        )["AuthenticationResult"]["AccessToken"]
        answer = stage.https(API, "/v1/profile", headers={"Authorization": f"Bearer {token}"})
        assert answer.status == 200
        assert answer.document["requestContext"]["authorizer"]["jwt"]["claims"]["username"]

    def test_a_route_is_throttled_by_its_settings(self, stage: StageCaller) -> None:
        statuses = [stage.https(API, "/v1/rare").status for _ in range(4)]
        assert statuses == [200, 200, 429, 429]
        assert stage.https(API, "/v1/echo").status == 200

    def test_an_integration_ends_at_its_time_limit(self, stage: StageCaller, site: Site) -> None:
        gateway = stage.plain("apigatewayv2", REGION)
        integration = gateway.get_integrations(ApiId=site.api)["Items"][0]["IntegrationId"]
        gateway.update_integration(ApiId=site.api, IntegrationId=integration, TimeoutInMillis=50)
        functions = stage.plain("lambda", REGION)
        slow = CODE.replace("    return", "    import time; time.sleep(2)\n    return")
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("code.py", slow)
        functions.update_function_code(FunctionName="api", ZipFile=archive.getvalue())
        try:
            assert stage.https(API, "/v1/echo").status == 503
        finally:
            gateway.update_integration(ApiId=site.api, IntegrationId=integration, TimeoutInMillis=30_000)

    def test_the_default_endpoint_is_switched_off(self, stage: StageCaller, site: Site) -> None:
        default = f"{site.api}.execute-api.{REGION}.amazonaws.com"
        with pytest.raises(ssl.SSLError):
            stage.https(default, "/v1/echo", address=stage.address(API))
        assert default not in stage.published()
        gateway = stage.plain("apigatewayv2", REGION)
        gateway.update_api(ApiId=site.api, DisableExecuteApiEndpoint=False)
        assert stage.https(default, "/v1/echo", address=stage.address(API)).status == 200
        gateway.update_api(ApiId=site.api, DisableExecuteApiEndpoint=True)

    @pytest.mark.parametrize("path", ["/health", "/_ministack/health", "/v2/email/identities", "/latest/meta-data/"])
    def test_no_path_of_the_domain_leads_to_another_service(self, stage: StageCaller, path: str) -> None:
        answer = stage.https(API, path)
        assert (answer.status, answer.document) == (404, {"message": "Not Found"})

    def test_of_a_domain_in_two_regions_the_one_answers_to_which_the_record_leads(
        self, stage: StageCaller, site: Site
    ) -> None:
        first = stage.plain("apigatewayv2", REGION).get_domain_name(DomainName=API)["DomainNameConfigurations"][0]
        gateway = stage.plain("apigatewayv2", "us-east-1")
        empty = gateway.create_api(Name="empty", ProtocolType="HTTP")["ApiId"]
        gateway.create_stage(ApiId=empty, StageName="$default", AutoDeploy=True)
        second = gateway.create_domain_name(
            DomainName=API,
            DomainNameConfigurations=[{"CertificateArn": _certificate(stage, "us-east-1"), "EndpointType": "REGIONAL"}],
        )["DomainNameConfigurations"][0]
        gateway.create_api_mapping(ApiId=empty, DomainName=API, Stage="$default")
        assert stage.https(API, "/v1/echo").status == 200
        for target, status in ((second, 404), (first, 200)):
            _alias(stage, site.zone, API, target["ApiGatewayDomainName"])
            deadline = time.monotonic() + 10
            while stage.https(API, "/v1/echo").status != status and time.monotonic() < deadline:
                time.sleep(0.2)
            assert stage.https(API, "/v1/echo").status == status
        gateway.delete_domain_name(DomainName=API)

    def test_there_is_no_api_without_tls(self, stage: StageCaller) -> None:
        assert stage.http(API, "/v1/echo").status == 403


class TestCloudFront:
    def test_an_api_behind_cloudfront_sees_an_address_of_the_prefix_list_and_the_viewers_address(
        self, stage: StageCaller, site: Site
    ) -> None:
        ec2 = stage.plain("ec2", REGION)
        name = {"Name": "prefix-list-name", "Values": ["com.amazonaws.global.cloudfront.origin-facing"]}
        (prefix_list,) = ec2.describe_managed_prefix_lists(Filters=[name])["PrefixLists"]
        (entry,) = ec2.get_managed_prefix_list_entries(PrefixListId=prefix_list["PrefixListId"])["Entries"]
        networks = [ipaddress.ip_network(entry["Cidr"])]
        for domain in (DOMAIN, site.distribution):
            event = stage.https(domain, "/v1/echo", headers={"X-Forwarded-For": "198.51.100.1"}).document
            peer, forwarded_for = event["requestContext"]["http"]["sourceIp"], event["headers"]["x-forwarded-for"]
            assert ipaddress.ip_address(peer) in networks[0]
            assert viewer_address(peer, forwarded_for, networks) == "127.0.0.1"
        assert ipaddress.ip_address("127.0.0.1") not in networks[0]

    def test_the_root_is_the_default_object_with_the_headers_of_the_policy(
        self, stage: StageCaller, site: Site
    ) -> None:
        for host in (DOMAIN, site.distribution):
            answer = stage.https(host, "/")
            assert (answer.status, answer.body) == (200, b"<h1>game</h1>")
            assert answer.headers["x-frame-options"] == "DENY"
            assert "hypercorn" not in answer.headers.get("server", "")

    @pytest.mark.usefixtures("site")
    def test_a_path_goes_to_the_origin_of_its_behavior(self, stage: StageCaller) -> None:
        answer = stage.https(DOMAIN, "/v1/echo", headers={"Origin": f"https://{DOMAIN}"})
        assert answer.status == 200
        assert answer.document["requestContext"]["domainName"] == API
        assert stage.https(DOMAIN, "/v1/echo", "HEAD").status in {200, 404}
        assert stage.https(DOMAIN, "/index.html", "POST").status == 403

    def test_an_origin_can_have_a_name_of_aws(self, stage: StageCaller, site: Site) -> None:
        gateway, cloudfront = stage.plain("apigatewayv2", REGION), stage.plain("cloudfront")
        gateway.update_api(ApiId=site.api, DisableExecuteApiEndpoint=False)
        host = f"{site.api}.execute-api.{REGION}.amazonaws.com"
        stage.address(host)
        https = {"HTTPPort": 80, "HTTPSPort": 443, "OriginProtocolPolicy": "https-only"}
        second = cloudfront.create_distribution(
            DistributionConfig={
                "CallerReference": "second",
                "Comment": "",
                "Enabled": True,
                "Origins": {"Quantity": 1, "Items": [{"Id": "a", "DomainName": host, "CustomOriginConfig": https}]},
                "DefaultCacheBehavior": {
                    "TargetOriginId": "a",
                    "ViewerProtocolPolicy": "https-only",
                    "CachePolicyId": "4135ea2d-6df8-44a3-9df3-4b5a84be39ad",
                },
            }
        )
        try:
            assert stage.https(second["Distribution"]["DomainName"], "/v1/echo").status == 200
        finally:
            gateway.update_api(ApiId=site.api, DisableExecuteApiEndpoint=True)

    @pytest.mark.usefixtures("site")
    def test_a_missing_object_has_the_error_page(self, stage: StageCaller) -> None:
        answer = stage.https(DOMAIN, "/missing")
        assert (answer.status, answer.body) == (404, b"sorry")

    @pytest.mark.usefixtures("site")
    def test_a_request_without_tls_is_redirected(self, stage: StageCaller) -> None:
        answer = stage.http(DOMAIN, "/index.html?a=1")
        assert answer.status == 301
        assert answer.headers["location"] == f"https://{DOMAIN}/index.html?a=1"

    @pytest.mark.usefixtures("site")
    def test_the_bucket_must_allow_the_distribution(self, stage: StageCaller) -> None:
        s3 = stage.plain("s3", REGION)
        policy = s3.get_bucket_policy(Bucket=BUCKET)["Policy"]
        s3.put_bucket_policy(Bucket=BUCKET, Policy=policy.replace("distribution/", "distribution/X"))
        try:
            assert stage.https(DOMAIN, "/index.html").status == 403
        finally:
            s3.put_bucket_policy(Bucket=BUCKET, Policy=policy)
        assert stage.https(DOMAIN, "/index.html").status == 200


@pytest.fixture(scope="module")
def protected(stage: StageCaller, site: Site) -> Iterator[None]:
    """Protect the distribution by a web ACL."""
    api, cloudfront = stage.plain("wafv2"), stage.plain("cloudfront")
    seen = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": "m"}
    own = api.create_ip_set(Name="own", Scope="CLOUDFRONT", IPAddressVersion="IPV4", Addresses=["127.0.0.1/32"])[
        "Summary"
    ]["ARN"]
    here = {"IPSetReferenceStatement": {"ARN": own}}
    limited = {"Limit": 10, "AggregateKeyType": "IP", "ScopeDownStatement": _contains("QueryString", "rate")}
    refused = {"CustomResponse": {"ResponseCode": 429}}
    blocks: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"AndStatement": {"Statements": [here, _contains("UriPath", "/admin")]}}, {}),
        (_contains("QueryString", "custom"), refused),
        (_contains("Body", "attack", OversizeHandling="CONTINUE"), {}),
        ({"RateBasedStatement": limited}, {}),
    ]
    rules = [
        {"Name": str(n), "Priority": n, "Statement": s, "Action": {"Block": options}, "VisibilityConfig": seen}
        for n, (s, options) in enumerate(blocks)
    ]
    arn = api.create_web_acl(
        Name="web", Scope="CLOUDFRONT", DefaultAction={"Allow": {}}, VisibilityConfig=seen, Rules=rules
    )["Summary"]["ARN"]
    identifier = _identifier(cloudfront, site)
    _change(cloudfront, identifier, WebACLId=arn)
    yield
    _change(cloudfront, identifier, WebACLId="")


def _identifier(cloudfront: Any, site: Site) -> str:
    items = cloudfront.list_distributions()["DistributionList"]["Items"]
    return next(str(item["Id"]) for item in items if item["DomainName"] == site.distribution)


class TestFirewallOfCloudFront:
    """Tests that the web ACL of a distribution decides on requests. ministack itself ignores the web ACL."""

    @pytest.mark.usefixtures("protected")
    def test_a_refused_request_gets_the_error_page_of_the_distribution(self, stage: StageCaller) -> None:
        assert stage.https(DOMAIN, "/index.html").status == 200
        answer = stage.https(DOMAIN, "/admin/index.html")
        assert (answer.status, answer.body) == (404, b"sorry")

    @pytest.mark.usefixtures("protected")
    def test_a_custom_response_of_the_web_acl_has_precedence(self, stage: StageCaller) -> None:
        assert stage.https(DOMAIN, "/index.html?custom=1").status == 429

    @pytest.mark.usefixtures("protected")
    @pytest.mark.parametrize(("offset", "status"), [(16_000, 404), (17_000, 200)])
    def test_the_first_16_kb_of_a_body_are_inspected(self, stage: StageCaller, offset: int, status: int) -> None:
        answer = stage.https(DOMAIN, "/v1/echo", "GET", body=b" " * offset + b"attack")
        assert answer.status == status

    @pytest.mark.usefixtures("protected")
    def test_an_address_above_the_rate_limit_is_refused(self, stage: StageCaller) -> None:
        # WAF compares the counts every ten seconds, which may be between two of the first requests.
        assert stage.https(DOMAIN, "/v1/echo?rate").status == 200
        for _ in range(14):
            stage.https(DOMAIN, "/v1/echo?rate")
        deadline = time.monotonic() + 15
        while stage.https(DOMAIN, "/v1/echo?rate").status == 200 and time.monotonic() < deadline:
            time.sleep(0.5)
        assert stage.https(DOMAIN, "/v1/echo?rate").status == 404
        assert stage.https(DOMAIN, "/v1/echo").status == 200

    @pytest.mark.usefixtures("protected")
    def test_without_an_error_page_a_refused_request_gets_the_status_403(self, stage: StageCaller, site: Site) -> None:
        cloudfront = stage.plain("cloudfront")
        identifier = _identifier(cloudfront, site)
        before = _change(cloudfront, identifier, CustomErrorResponses={"Quantity": 0})
        try:
            answer = stage.https(DOMAIN, "/admin")
            assert answer.status == 403
            assert answer.headers["x-cache"] == "Error from cloudfront"
        finally:
            _change(cloudfront, identifier, CustomErrorResponses=before["CustomErrorResponses"])


def _contains(field: str, text: str, **options: Any) -> dict[str, Any]:
    return {
        "ByteMatchStatement": {
            "FieldToMatch": {field: options},
            "PositionalConstraint": "CONTAINS",
            "SearchString": text.encode(),
            "TextTransformations": [{"Priority": 0, "Type": "NONE"}],
        }
    }


def _change(cloudfront: Any, identifier: str, **settings: Any) -> Any:
    """Change settings of a distribution. Returns: the settings before the change."""
    answer = cloudfront.get_distribution_config(Id=identifier)
    before = answer["DistributionConfig"]
    cloudfront.update_distribution(Id=identifier, IfMatch=answer["ETag"], DistributionConfig={**before, **settings})
    return before


class TestNames:
    def test_a_name_without_a_certificate_is_refused(self, stage: StageCaller, site: Site) -> None:
        gateway = stage.plain("apigatewayv2", REGION)
        other = f"deep.api.{DOMAIN}"
        domain = gateway.create_domain_name(
            DomainName=other,
            DomainNameConfigurations=[{"CertificateArn": _certificate(stage, REGION), "EndpointType": "REGIONAL"}],
        )["DomainNameConfigurations"][0]["ApiGatewayDomainName"]
        gateway.create_api_mapping(ApiId=site.api, DomainName=other, Stage="$default")
        _alias(stage, site.zone, other, domain)
        with pytest.raises(ssl.SSLError):
            stage.https(other, "/v1/echo")
        assert stage.https(other, "/v1/echo", server_name=API).status == 403

    def test_a_name_without_a_record_has_no_address(self, stage: StageCaller, site: Site) -> None:
        _alias(stage, site.zone, DOMAIN, site.distribution, "DELETE")
        try:
            deadline = time.monotonic() + 10
            while _resolves(stage, DOMAIN) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert not _resolves(stage, DOMAIN)
            assert _resolves(stage, site.distribution)
        finally:
            _alias(stage, site.zone, DOMAIN, site.distribution)

    def test_a_latency_record_leads_to_the_first_region_that_is_not_excluded(
        self, stage: StageCaller, site: Site
    ) -> None:
        name = f"play.{DOMAIN}"
        route53 = stage.plain("route53")
        check = route53.create_health_check(
            CallerReference="h",
            HealthCheckConfig={"Type": "HTTP", "IPAddress": "127.0.0.1", "Disabled": False, "Inverted": False},
        )["HealthCheck"]["Id"]
        targets = {"ap-northeast-1": site.distribution, REGION: "elsewhere.example.com"}
        for region, target in targets.items():
            record = {
                "Name": name,
                "Type": "A",
                "SetIdentifier": region,
                "Region": region,
                "AliasTarget": {"HostedZoneId": "Z", "DNSName": target, "EvaluateTargetHealth": False},
                **({"HealthCheckId": check} if region == "ap-northeast-1" else {}),
            }
            route53.change_resource_record_sets(
                HostedZoneId=site.zone, ChangeBatch={"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]}
            )
        assert stage.address(name) == stage.address(site.distribution)
        route53.update_health_check(HealthCheckId=check, Disabled=True, Inverted=True)
        deadline = time.monotonic() + 10
        while _resolves(stage, name) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not _resolves(stage, name)


def _resolves(stage: StageCaller, name: str) -> bool:
    return name in stage.published()
