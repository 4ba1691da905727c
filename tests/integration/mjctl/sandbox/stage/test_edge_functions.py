"""Tests CloudFront functions on the stage, and the pass of the distribution with the function that production runs."""

from __future__ import annotations

import functools
import io
import ipaddress
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gameserver.functions.direct_calls import DirectCalls
from gameserver.functions.http import HttpError
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.distribution_pass import HEADER, STORE_KEY, secret_name
from gameserver.runtime.settings import Settings
from mjctl.deploy.distribution_pass import DistributionPass
from mjctl.sandbox.emulators import Emulators
from tests.integration.mjctl.sandbox.probes import Probes, error_code
from tests.integration.mjctl.sandbox.released import corrections_of
from tests.integration.mjctl.sandbox.stage.by_tls import StageCaller, running, trust

pytestmark = pytest.mark.timeout(120)

REGION = "us-east-1"
DOMAIN = "game.example.com"
API = f"api.{DOMAIN}"
SECRET = secret_name("arena", "test")
CODE = (Path(__file__).resolve().parents[5] / "terraform/modules/edge/distribution_pass.js").read_bytes()
ECHO = """
import json

def handler(event, context):
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(event)}
"""
probe = Probes[StageCaller]()


def publish(caller: StageCaller, name: str, code: bytes, *stores: str) -> str:
    """Publish a CloudFront function. Returns: its ARN."""
    associated = {"Quantity": len(stores), "Items": [{"KeyValueStoreARN": arn} for arn in stores]}
    cloudfront = caller.plain("cloudfront")
    created = cloudfront.create_function(
        Name=name,
        FunctionConfig={"Comment": "", "Runtime": "cloudfront-js-2.0", "KeyValueStoreAssociations": associated},
        FunctionCode=code,
    )
    cloudfront.publish_function(Name=name, IfMatch=created["ETag"])
    arn: str = created["FunctionSummary"]["FunctionMetadata"]["FunctionARN"]
    return arn


def distribution(caller: StageCaller, name: str, origin: str, function: str | None = None) -> str:
    """Create a distribution with the origin `origin`. Returns: its domain."""
    functions = [{"FunctionARN": function, "EventType": "viewer-request"}] if function else []
    created = caller.plain("cloudfront").create_distribution(
        DistributionConfig={
            "CallerReference": name,
            "Comment": "",
            "Enabled": True,
            "Origins": {
                "Quantity": 1,
                "Items": [
                    {
                        "Id": "api",
                        "DomainName": origin,
                        "CustomOriginConfig": {
                            "HTTPPort": 80,
                            "HTTPSPort": 443,
                            "OriginProtocolPolicy": "https-only",
                        },
                    }
                ],
            },
            "DefaultCacheBehavior": {
                "TargetOriginId": "api",
                "ViewerProtocolPolicy": "https-only",
                "CachePolicyId": "4135ea2d-6df8-44a3-9df3-4b5a84be39ad",
                "OriginRequestPolicyId": "b689b0a8-53d0-40ab-baf2-68738e2966ac",
                "FunctionAssociations": {"Quantity": len(functions), "Items": functions},
            },
        }
    )["Distribution"]
    return str(created["DomainName"]).lower()


@functools.cache
def echo(stage: StageCaller) -> str:
    """Create an API that answers with the event of its function. Returns: the host name of the API."""
    role = stage.plain("iam").create_role(
        RoleName="api", AssumeRolePolicyDocument=trust({"Service": "lambda.amazonaws.com"})
    )["Role"]["Arn"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("code.py", ECHO)
    functions, gateway = stage.plain("lambda"), stage.plain("apigatewayv2")
    created = functions.create_function(
        FunctionName="api",
        Role=role,
        Runtime="python3.12",
        Handler="code.handler",
        Code={"ZipFile": archive.getvalue()},
    )
    api = gateway.create_api(Name="api", ProtocolType="HTTP")["ApiId"]
    functions.add_permission(
        FunctionName="api",
        StatementId="s",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:{REGION}:123456789012:{api}/*/*",
    )
    integration = gateway.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=created["FunctionArn"], PayloadFormatVersion="2.0"
    )["IntegrationId"]
    gateway.create_route(ApiId=api, RouteKey="GET /v1/echo", Target=f"integrations/{integration}")
    gateway.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    host = f"{api}.execute-api.{REGION}.amazonaws.com"
    stage.address(host)
    return host


def answered(caller: StageCaller, name: str, code: str, *stores: str) -> int:
    """Return the status with which a distribution with the function `code` answers."""
    domain = distribution(caller, name, echo(caller), publish(caller, name, code.encode(), *stores))
    return caller.https(domain, "/v1/echo").status


def store(caller: StageCaller, name: str, **items: str) -> str:
    """Create a key value store with items. Returns: its ARN."""
    arn: str = caller.plain("cloudfront").create_key_value_store(Name=name)["KeyValueStore"]["ARN"]
    values = caller.plain("cloudfront-keyvaluestore")
    if items:
        version = values.describe_key_value_store(KvsARN=arn)["ETag"]
        values.update_keys(
            KvsARN=arn, IfMatch=version, Puts=[{"Key": key, "Value": value} for key, value in items.items()]
        )
    return arn


@probe("edge-function-store")
def _store(caller: StageCaller) -> bool:
    code = """
    import cf from 'cloudfront';
    const kept = cf.kvs();
    async function handler(event) {
        const found = [await kept.get('status'), await kept.get('more', { format: 'json' }), await kept.count()];
        let missing = '';
        try { await kept.get('constructor'); } catch (error) { missing = String(error); }
        const right = found[0] === '201' && found[1].a === 1 && found[2] === 2 && missing.includes('KeyNotFound');
        return { statusCode: right && await kept.exists('more') && !(await kept.exists('x')) ? 201 : 500 };
    }
    """
    filled = store(caller, "probe", status="201", more='{"a": 1}')
    return answered(caller, "store", code, filled) == 201 and answered(caller, "storeless", code) == 503


@probe("edge-function-headers")
def _headers(caller: StageCaller) -> bool:
    code = "function handler(e) { e.request.headers['%s'] = { value: 'x' }; return e.request; }"
    names = ("x-edge-pass", "x-amzn-requestid", "x-distribution-pass")
    return [answered(caller, name, code % name) for name in names] == [502, 502, 200]


@probe("edge-function-size")
def _size(caller: StageCaller) -> bool:
    config = {"Comment": "", "Runtime": "cloudfront-js-2.0"}
    create = caller.plain("cloudfront").create_function
    fits = error_code(create, Name="fits", FunctionConfig=config, FunctionCode=b" " * 10_240)
    large = error_code(create, Name="large", FunctionConfig=config, FunctionCode=b" " * 10_241)
    return (fits, large) == ("", "FunctionSizeLimitExceeded")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StageCaller]:
    with running(tmp_path_factory.mktemp("stage")) as caller:
        yield caller


@pytest.mark.parametrize("name", sorted(probe))
def test_the_stage_runs_functions_as_aws_documents(name: str, stage: StageCaller) -> None:
    probe.check(name, stage, corrected=True)


def test_each_correction_of_functions_has_a_probe() -> None:
    assert set(probe) == corrections_of("mjctl.sandbox.stage.edge_functions")


@pytest.fixture(scope="module")
def uncorrected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StageCaller]:
    folder = tmp_path_factory.mktemp("uncorrected")
    with Emulators(folder, names=["ministack"], stage=True, corrected=False) as emulators:
        caller = StageCaller(folder, emulators)
        with caller.resolving():
            yield caller


@pytest.mark.parametrize("name", sorted(probe))
def test_ministack_needs_each_correction_of_functions(name: str, uncorrected: StageCaller) -> None:
    probe.check(name, uncorrected, corrected=False)


def test_a_function_cannot_load_modules_of_node(stage: StageCaller) -> None:
    code = "import net from 'net'; function handler(e) { return { statusCode: 200 }; }"
    assert answered(stage, "net", code.replace("; function", ";\nfunction")) == 503


def test_a_machine_without_node_uses_the_node_of_the_extra_sandbox() -> None:
    code = (
        "from mjctl.sandbox.stage import edge_functions\n"
        "from ministack.core import node_pool\n"
        "edge_functions.use_node()\n"
        "print(node_pool._NODE_BINARY)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PATH": ""})
    assert shutil.which(done.stdout.splitlines()[-1])


class Site(NamedTuple):
    """Names the distributions of a game and of a stranger, and has the part of mjctl that replaces the game's pass."""

    store: str
    game: str
    stranger: str
    passes: DistributionPass


@pytest.fixture(scope="module")
def api(stage: StageCaller) -> str:
    """Create an API that answers with the event of its function. Returns: the host name of the API."""
    return echo(stage)


@pytest.fixture(scope="module")
def site(stage: StageCaller, api: str) -> Site:
    return made(stage, api, SECRET)


def made(stage: StageCaller, api: str, secret: str) -> Site:
    """Create a distribution as production has it, and a stranger's distribution that calls the same API."""
    kept = store(stage, secret)
    stage.plain("secretsmanager").create_secret(Name=secret)
    function = publish(stage, secret, CODE, kept)
    clients = stage.plain("cloudfront-keyvaluestore"), stage.plain("secretsmanager")
    passes = DistributionPass(kept, secret, *clients, sleep=lambda _: None)
    game, stranger = distribution(stage, secret, api, function), distribution(stage, f"not-{secret}", api)
    return Site(kept, game, stranger, passes)


def event(stage: StageCaller, domain: str, headers: Mapping[str, str] | None = None) -> Any:
    """Return the event that the function of the API gets for a request to a distribution."""
    return stage.https(domain, "/v1/echo", headers=headers).document


@pytest.fixture
def door(stage: StageCaller, monkeypatch: pytest.MonkeyPatch) -> Callable[..., DirectCalls]:
    """Return a factory of the API's admission of calls. Its argument names the secret."""
    named = {"Name": "prefix-list-name", "Values": ["com.amazonaws.global.cloudfront.origin-facing"]}
    ec2 = stage.plain("ec2")
    (prefix_list,) = ec2.describe_managed_prefix_lists(Filters=[named])["PrefixLists"]
    entries = ec2.get_managed_prefix_list_entries(PrefixListId=prefix_list["PrefixListId"])["Entries"]
    networks = tuple(ipaddress.ip_network(entry["Cidr"]) for entry in entries)
    for name, value in stage.emulators.key.variables.items():
        monkeypatch.setenv(name, value)

    def open_door(secret: str = SECRET) -> DirectCalls:
        settings = Settings("arena", "test", REGION, edge_networks=networks, distribution_passes=secret)
        return DirectCalls(settings, AwsClients(REGION, stage.emulators.url("ministack")))

    return open_door


async def admitted(calls: DirectCalls, request: Any) -> bool:
    try:
        await calls.admit(request["requestContext"]["http"]["sourceIp"], request["headers"])
    except HttpError as error:
        if (error.status, error.code) != (403, "forbidden"):
            raise
        return False
    return True


async def test_before_the_first_pass_the_api_answers_every_distribution(
    stage: StageCaller, api: str, door: Callable[..., DirectCalls]
) -> None:
    new = made(stage, api, "new")
    requests = [event(stage, domain) for domain in (new.game, new.stranger)]
    assert not any(HEADER in request["headers"] for request in requests)
    assert [await admitted(door("new"), request) for request in requests] == [True, True]
    new.passes.replace()
    assert await admitted(door("new"), event(stage, new.game))
    assert [await admitted(door("new"), request) for request in requests] == [False, False]


async def test_the_api_answers_only_the_own_distribution(
    stage: StageCaller, site: Site, door: Callable[..., DirectCalls]
) -> None:
    site.passes.replace()
    own, foreign = event(stage, site.game), event(stage, site.stranger)
    assert own["requestContext"]["http"]["sourceIp"] == foreign["requestContext"]["http"]["sourceIp"]
    assert await admitted(door(), own)
    assert not await admitted(door(), foreign)
    assert not await admitted(door(), event(stage, site.stranger, {HEADER: "forged"}))


async def test_a_viewer_cannot_choose_the_pass(
    stage: StageCaller, site: Site, door: Callable[..., DirectCalls]
) -> None:
    site.passes.replace()
    sent = event(stage, site.game, {"X-Distribution-Pass": "forged"})["headers"][HEADER]
    values = stage.plain("cloudfront-keyvaluestore")
    assert sent == values.get_key(KvsARN=site.store, Key=STORE_KEY)["Value"]
    version = values.describe_key_value_store(KvsARN=site.store)["ETag"]
    values.delete_key(KvsARN=site.store, Key=STORE_KEY, IfMatch=version)
    without = event(stage, site.game, {"X-Distribution-Pass": sent})
    assert HEADER not in without["headers"]
    assert not await admitted(door(), without)


async def test_the_newest_two_passes_are_accepted_and_an_older_pass_is_not(
    stage: StageCaller, site: Site, door: Callable[..., DirectCalls]
) -> None:
    requests = []
    for _ in range(3):
        site.passes.replace()
        requests.append(event(stage, site.game))
    assert [await admitted(door(), request) for request in requests] == [False, True, True]


def test_the_secret_does_not_contain_a_pass(stage: StageCaller, site: Site) -> None:
    site.passes.replace()
    sent = event(stage, site.game)["headers"][HEADER]
    text = stage.plain("secretsmanager").get_secret_value(SecretId=SECRET)["SecretString"]
    assert len(json.loads(text)["accepted"]) == 2
    assert len(sent) >= 43
    assert sent not in text
