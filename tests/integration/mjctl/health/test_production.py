"""Tests the health checks of the production stacks. Each test breaks one resource in the emulated AWS.

These tests do not cover the states that the emulators cannot produce. The emulators cannot run tasks in more than one
zone, and cannot report unhealthy targets of a load balancer or a failed rollout. The emulators cannot report an
outdated replica of a table or of a secret.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from gameserver.cluster.directory import Directory, ServerInfo
from gameserver.runtime.settings import Settings
from gameserver.server.process import end_tasks
from mjctl.cli.output.documents.observe import health_fields
from mjctl.clients.boto import RegionClients
from mjctl.clients.ops_function import ops_function
from mjctl.health.checks import backup as backup_check
from mjctl.health.checks.edge import check_edge_pass
from mjctl.health.model import Finding, RegionContext, Thresholds
from mjctl.health.runner import run_health
from mjctl.models.backup import ManagedBackup
from mjctl.models.check import CheckResult, CheckStatus
from mjctl.models.contract import Contract
from mjctl.sandbox.emulators import Emulators
from tests.integration.mjctl import production
from tests.integration.mjctl.ops_lambda import ops_lambda
from tests.integration.mjctl.production import NAME, OTHER_REGION, REGION, Production


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    with Emulators(tmp_path_factory.mktemp("emulators")) as emulators:
        yield production.build(emulators)


@pytest.fixture
def repairs() -> Iterator[ExitStack]:
    """Yield a stack of callbacks that undo the changes of a test, because all tests share the region."""
    with ExitStack() as stack:
        yield stack


async def look(contract: Contract, folder: Path, *only: str, **bounds: float) -> dict[str, CheckResult]:
    thresholds = Thresholds().with_overrides(f"{name}={value}" for name, value in bounds.items())
    report = await run_health(
        "it", {contract.region: contract}, {contract.region: folder}, only=only, thresholds=thresholds
    )
    json.dumps(health_fields(report))
    return {item.name: item for item in report.results}


async def test_the_checks_of_a_healthy_region_have_these_statuses(region: Production, tmp_path: Path) -> None:
    results = await look(region.contract, tmp_path)
    status = {name: str(item.status) for name, item in results.items()}
    assert status == {
        # The emulated AWS runs no processes behind the addresses of the contract (`endpoints.served` is false).
        **dict.fromkeys(("api", "login", "match", "owners", "redis"), "skip"),
        # `zones` and `cache` warn, because the emulated AWS starts all tasks in the first zone and has no metrics of
        # the cache and the state store. `backup` warns, because the test made no backup. `mail` warns, because the pool
        # does not use SES.
        **dict.fromkeys(("zones", "state", "cache", "backup", "mail"), "warn"),
        **dict.fromkeys(("service", "scaling", "targets", "database", "database-secret", "table/matches"), "pass"),
        **dict.fromkeys(("queue/persistence", "dead-letters/persistence", "topic/events", "identity"), "pass"),
        **dict.fromkeys(("function/api", "dead-letters/function-api", "alarms", "alarm-topic", "key/data"), "pass"),
        **dict.fromkeys(("gateway", "certificate", "firewall", "edge-networks", "edge-pass", "cdn", "dns"), "pass"),
    }
    assert all(item.hint for item in results.values() if item.status in ("warn", "fail"))
    assert f"also in {OTHER_REGION}" in results["table/matches"].summary
    assert results["database"].evidence["zones"] == [f"{REGION}a", f"{REGION}b"]


async def test_only_the_primary_region_checks_the_distribution(region: Production, tmp_path: Path) -> None:
    elsewhere = region.contract.managed.model_copy(update={"primary_region": OTHER_REGION})
    results = await look(region.contract.model_copy(update={"managed": elsewhere}), tmp_path, "c*")
    assert "certificate" in results
    assert "cdn" not in results


async def test_a_private_redis_is_checked_through_the_ops_function(
    region: Production, contract: Contract, settings: Settings, tmp_path: Path
) -> None:
    with ops_lambda(settings) as arn:
        inside = {"access": "ops_function", "ops_function_arn": arn}
        parts = {"cache": contract.cache, "state": contract.state}
        reached = contract.model_copy(update={name: part.model_copy(update=inside) for name, part in parts.items()})
        redis = (await look(reached, tmp_path, "redis"))["redis"]
        assert redis.status is CheckStatus.PASS, redis
        assert redis.evidence["used_memory_bytes"] > 0
        assert redis.evidence["state"]["policy"] == "noeviction"


async def test_the_ops_function_of_release_0_1_0_is_asked_only_for_its_one_redis(
    region: Production, contract: Contract, settings: Settings, tmp_path: Path
) -> None:
    answer = {"memory_bytes": 1, "max_memory_bytes": 0, "evicted_keys": 0, "clients": 1, "total_keys": 0}
    answer["server_version"] = "7.0"
    code = f"def handler(event, context):\n    assert event['command'] == 'stats'\n    return {answer}"
    with ops_lambda(settings, code=code) as arn:
        cache = contract.cache.model_copy(update={"access": "ops_function", "ops_function_arn": arn})
        reached = contract.model_copy(update={"cache": cache, "state": cache})
        redis = (await look(reached, tmp_path, "redis"))["redis"]
    assert redis.status is CheckStatus.PASS, redis
    assert "state store" not in redis.summary


async def test_a_server_that_waits_for_an_epoch_fails_the_check_of_the_owners(
    region: Production, contract: Contract, settings: Settings, tmp_path: Path
) -> None:
    redis = Redis.from_url(settings.state_url)
    directory = Directory(redis)
    idle = ServerInfo("game-1", f"{REGION}a", "ws://game-1", 0, 0, 10, draining=False)
    with ops_lambda(settings) as arn:
        inside = {"access": "ops_function", "ops_function_arn": arn}
        parts = {"cache": contract.cache, "state": contract.state}
        reached = contract.model_copy(
            update={name: part.model_copy(update=inside) for name, part in parts.items()}
            | {"fleet": region.contract.fleet}
        )
        # On a busy machine, the start of the function's process takes longer than the check waits.
        async with ops_function(reached) as function:
            await function.run("servers")
        for waiting, status in ((0, CheckStatus.PASS), (2, CheckStatus.FAIL)):
            info = msgspec.structs.replace(idle, without_epoch=waiting)
            reports = asyncio.create_task(_report(directory, info))
            owners = (await look(reached, tmp_path, "owners"))["owners"]
            await end_tasks([reports])
            assert owners.status is status, owners
            assert owners.evidence["waiting"] == {"game-1": waiting}
    assert "2 matches wait to be started or taken over" in owners.summary
    await redis.aclose()


async def _report(directory: Directory, info: ServerInfo) -> None:
    while True:
        await directory.heartbeat(info)
        await asyncio.sleep(0.5)


@pytest.mark.parametrize("store", ["cache", "state"])
@pytest.mark.parametrize(
    ("bounds", "status"),
    [
        ({}, "pass"),
        ({"cache_memory_percent_warn": 30.0}, "warn"),
        ({"cache_memory_percent_fail": 40.0}, "fail"),
        ({"cache_lag_seconds_warn": 0.1}, "warn"),
    ],
)
async def test_the_status_of_a_store_follows_from_its_metrics(
    region: Production, tmp_path: Path, repairs: ExitStack, bounds: dict[str, float], status: str, store: str
) -> None:
    # CloudWatch cannot delete metrics, so the test writes metrics of a replication group that no other test checks.
    elasticache = region.client("elasticache")
    group = production.create_cache(elasticache, "measured", shards=2 if store == "state" else 0)
    repairs.callback(elasticache.delete_replication_group, ReplicationGroupId=group)
    groups = elasticache.describe_replication_groups(ReplicationGroupId=group)["ReplicationGroups"]
    member = groups[0]["MemberClusters"][1]
    managed = region.contract.managed.model_copy(update={f"{store}_group": group})
    contract = region.contract.model_copy(update={"managed": managed})
    for name, value in {"DatabaseMemoryUsagePercentage": 40.0, "ReplicationLag": 0.2}.items():
        point = {"MetricName": name, "Dimensions": [{"Name": "CacheClusterId", "Value": member}], "Value": value}
        region.client("cloudwatch").put_metric_data(
            Namespace="AWS/ElastiCache", MetricData=[{**point, "Timestamp": datetime.now(UTC) - timedelta(minutes=2)}]
        )
    result = (await look(contract, tmp_path, store, **bounds))[store]
    assert result.status == status, result
    assert "memory 40 %, replication lag 0.2 s" in result.summary


async def test_every_shard_of_the_state_store_needs_a_replica(
    region: Production, tmp_path: Path, repairs: ExitStack
) -> None:
    elasticache = region.client("elasticache")
    group = production.create_cache(elasticache, "alone", shards=2, replicas=0)
    repairs.callback(elasticache.delete_replication_group, ReplicationGroupId=group)
    managed = region.contract.managed.model_copy(update={"state_group": group})
    result = (await look(region.contract.model_copy(update={"managed": managed}), tmp_path, "state"))["state"]
    assert result.status == "warn"
    assert "no replica of shard 0001" in result.summary
    assert "no replica of shard 0002" in result.summary


def _ring(region: Production, repairs: ExitStack) -> None:
    cloudwatch, alarm = region.client("cloudwatch"), f"{NAME}-server-5xx"
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="x")
    repairs.callback(cloudwatch.set_alarm_state, AlarmName=alarm, StateValue="OK", StateReason="x")


async def test_an_alarm_on_a_day_counts_only_after_its_first_day(
    region: Production, tmp_path: Path, repairs: ExitStack
) -> None:
    cloudwatch, name = region.client("cloudwatch"), f"{NAME}-backup-too-old"
    repairs.callback(cloudwatch.delete_alarms, AlarmNames=[name])
    seen = {}
    for period, missing in ((86_400, "breaching"), (86_400, "notBreaching"), (60, "breaching")):
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            ComparisonOperator="LessThanThreshold",
            EvaluationPeriods=1,
            MetricName="NumberOfBackupJobsCompleted",
            Namespace="AWS/Backup",
            Period=period,
            Statistic="Sum",
            Threshold=1,
            TreatMissingData=missing,
        )
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="x")
        seen[period, missing] = (await look(region.contract, tmp_path, "alarms"))["alarms"].status
    assert seen == {(86_400, "breaching"): "pass", (86_400, "notBreaching"): "fail", (60, "breaching"): "fail"}


def _no_alarm(region: Production, repairs: ExitStack) -> None:
    cloudwatch = region.client("cloudwatch")
    cloudwatch.delete_alarms(AlarmNames=[f"{NAME}-server-5xx", f"{NAME}-no-healthy-server"])
    repairs.callback(production.set_alarm, region.emulators, REGION, "OK")
    repairs.callback(production.put_alarm, cloudwatch, "no-healthy-server")
    repairs.callback(production.put_alarm, cloudwatch, "server-5xx")


def _unheard(region: Production, repairs: ExitStack) -> None:
    sns, topic = region.client("sns"), region.contract.managed.alarm_topic
    for subscription in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
        sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
        endpoint = {name: subscription[name] for name in ("Protocol", "Endpoint")}
        repairs.callback(sns.subscribe, TopicArn=topic, **endpoint)


def _in_the_open(region: Production, repairs: ExitStack) -> None:
    wafv2, managed = region.client("wafv2"), region.contract.managed
    wafv2.disassociate_web_acl(ResourceArn=managed.load_balancer)
    repairs.callback(wafv2.associate_web_acl, WebACLArn=managed.web_acl, ResourceArn=managed.load_balancer)


def _token_of_a_killed_load_test(region: Production, repairs: ExitStack) -> None:
    wafv2 = region.client("wafv2")
    still_valid = f"^{int(time.time()) + 600}-{'1' * 32}$"
    production.write_tokens(wafv2, f"^{int(time.time()) - 1}-{'0' * 32}$", still_valid)
    repairs.callback(production.write_tokens, wafv2, still_valid)


def _new_network_of_cloudfront(region: Production, repairs: ExitStack) -> None:
    client, function = region.client("lambda"), region.contract.managed.functions["api"]
    known = production.edge_networks(region.client("ec2"))
    production.set_edge_networks(client, function, ["192.0.2.0/24"])
    repairs.callback(production.set_edge_networks, client, function, known)


def _open_function(region: Production, repairs: ExitStack) -> None:
    client, function = region.client("lambda"), region.contract.managed.functions["api"]
    known = production.edge_networks(region.client("ec2"))
    production.set_edge_networks(client, function, [])
    repairs.callback(production.set_edge_networks, client, function, known)


def _function_without_passes(region: Production, repairs: ExitStack) -> None:
    client, function = region.client("lambda"), region.contract.managed.functions["api"]
    known = production.edge_networks(region.client("ec2"))
    production.set_edge_networks(client, function, known, "")
    repairs.callback(production.set_edge_networks, client, function, known)


def _no_pass_yet(region: Production, repairs: ExitStack) -> None:
    manager = region.client("secretsmanager")
    manager.create_secret(Name="new-passes")
    repairs.callback(manager.delete_secret, SecretId="new-passes", ForceDeleteWithoutRecovery=True)
    client, function = region.client("lambda"), region.contract.managed.functions["api"]
    known = production.edge_networks(region.client("ec2"))
    production.set_edge_networks(client, function, known, "new-passes")
    repairs.callback(production.set_edge_networks, client, function, known)


def _not_recoverable(region: Production, repairs: ExitStack) -> None:
    def set_recovery(*, enabled: bool) -> None:
        region.client("dynamodb").update_continuous_backups(
            TableName=f"{NAME}-matches", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": enabled}
        )

    set_recovery(enabled=False)
    repairs.callback(set_recovery, enabled=True)


def _never_rotated(region: Production, repairs: ExitStack) -> None:
    kms, key = region.client("kms"), region.contract.keys["data"]
    kms.disable_key_rotation(KeyId=key)
    repairs.callback(kms.enable_key_rotation, KeyId=key)


def _invocation_failed(region: Production, repairs: ExitStack) -> None:
    sqs = region.client("sqs")
    url = sqs.get_queue_url(QueueName=f"{NAME}-api-function-dlq")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    repairs.callback(sqs.purge_queue, QueueUrl=url)


def _function_gone(region: Production, repairs: ExitStack) -> None:
    functions = region.client("lambda")
    known = production.edge_networks(region.client("ec2"))
    functions.delete_function(FunctionName=f"{NAME}-api")
    # The callbacks run in the opposite order: the function exists before it gets its settings.
    repairs.callback(production.set_edge_networks, functions, f"{NAME}-api", known)
    repairs.callback(production.create_function, functions, f"{NAME}-api")


def _secret_to_be_deleted(region: Production, repairs: ExitStack) -> None:
    secrets, secret = region.client("secretsmanager"), region.contract.database.secret
    secrets.delete_secret(SecretId=secret)
    repairs.callback(secrets.restore_secret, SecretId=secret)


def _one_instance(region: Production, repairs: ExitStack) -> None:
    rds, cluster = region.client("rds"), f"{NAME}-{REGION}"
    rds.delete_db_instance(DBInstanceIdentifier=f"{cluster}-2", SkipFinalSnapshot=True)
    repairs.callback(production.create_database_instance, rds, cluster, 2, f"{REGION}b")


def _other_task(region: Production, repairs: ExitStack) -> None:
    ecs, service = region.client("ecs"), {"cluster": NAME, "service": region.service}
    ecs.update_service(**service, taskDefinition=region.task_definition())
    repairs.callback(ecs.update_service, **service, taskDefinition=region.contract.fleet.task_definition)


def _at_the_limit(region: Production, repairs: ExitStack) -> None:
    autoscaling = region.client("application-autoscaling")
    production.set_scaling(autoscaling, maximum=3)
    repairs.callback(production.set_scaling, autoscaling)


def _nothing_scales(region: Production, repairs: ExitStack) -> None:
    autoscaling = region.client("application-autoscaling")
    autoscaling.deregister_scalable_target(
        ServiceNamespace="ecs",
        ResourceId=f"service/{NAME}/{region.service}",
        ScalableDimension="ecs:service:DesiredCount",
    )
    repairs.callback(production.set_scaling, autoscaling)


def _no_target(region: Production, repairs: ExitStack) -> None:
    elbv2, group = region.client("elbv2"), region.contract.managed.target_group
    descriptions = elbv2.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    targets = [{"Id": item["Target"]["Id"]} for item in descriptions]
    elbv2.deregister_targets(TargetGroupArn=group, Targets=targets)
    repairs.callback(elbv2.register_targets, TargetGroupArn=group, Targets=targets)


def _nothing_runs(region: Production, repairs: ExitStack) -> None:
    ecs = region.client("ecs")
    (service,) = ecs.describe_services(cluster=NAME, services=[region.service])["services"]
    subnets = service["networkConfiguration"]["awsvpcConfiguration"]["subnets"]
    ecs.delete_service(cluster=NAME, service=region.service, force=True)
    repairs.callback(production.create_service, ecs, region.contract.fleet.task_definition, subnets)


def _no_stage(region: Production, repairs: ExitStack) -> None:
    gateway, stage = region.client("apigatewayv2"), {"ApiId": region.contract.managed.api_id, "StageName": "$default"}
    gateway.delete_stage(**stage)
    repairs.callback(gateway.create_stage, **stage, AutoDeploy=True)


def _distribution_off(region: Production, repairs: ExitStack) -> None:
    cloudfront = region.client("cloudfront")
    distribution = cloudfront.list_distributions()["DistributionList"]["Items"][0]["Id"]

    def set_enabled(*, enabled: bool) -> None:
        current = cloudfront.get_distribution_config(Id=distribution)
        config = {**current["DistributionConfig"], "Enabled": enabled}
        cloudfront.update_distribution(Id=distribution, IfMatch=current["ETag"], DistributionConfig=config)

    set_enabled(enabled=False)
    repairs.callback(set_enabled, enabled=True)


@pytest.mark.parametrize(
    ("disabled", "inverted", "alarm", "status"),
    [
        (False, False, "OK", "pass"),
        (False, False, "ALARM", "fail"),
        (False, False, "INSUFFICIENT_DATA", "pass"),
        (False, True, "OK", "warn"),
        (False, True, "ALARM", "fail"),
        (True, False, "OK", "warn"),
        (True, False, "ALARM", "warn"),
        (True, True, "OK", "warn"),
        (True, True, "ALARM", "warn"),
    ],
)
async def test_the_dns_check_reports_whether_dns_includes_the_region(
    region: Production,
    tmp_path: Path,
    repairs: ExitStack,
    disabled: bool,
    inverted: bool,
    alarm: str,
    status: str,
) -> None:
    repairs.callback(production.set_flags, region.emulators, REGION, disabled=False, inverted=False)
    repairs.callback(production.set_alarm, region.emulators, REGION, "OK")
    production.set_flags(region.emulators, REGION, disabled=disabled, inverted=inverted)
    production.set_alarm(region.emulators, REGION, alarm)
    result = (await look(region.contract, tmp_path, "dns"))["dns"]
    assert result.status == status, result
    if alarm != "INSUFFICIENT_DATA":
        # Route 53 answers with an unhealthy region if no other region exists, so the test reads the state of the health
        # check instead of asking DNS.
        assert result.evidence["named"] is ((disabled or alarm == "OK") is not inverted)


@pytest.mark.parametrize(
    ("fault", "check", "status", "text"),
    [
        (_ring, "alarms", "fail", "1 of 2 alarms are in the state ALARM: server-5xx"),
        (_no_alarm, "alarms", "fail", "no operator would learn of a fault"),
        (_unheard, "alarm-topic", "warn", "the alarms reach no operator"),
        (_in_the_open, "firewall", "fail", "no firewall protects the load balancer"),
        (
            _token_of_a_killed_load_test,
            "firewall",
            "warn",
            "tokens of killed load tests still pass the rate limit: 1",
        ),
        (_new_network_of_cloudfront, "edge-networks", "fail", "the API refuses players behind these networks"),
        (_open_function, "edge-networks", "warn", "answers calls past CloudFront's firewall"),
        (_function_without_passes, "edge-pass", "warn", "answers calls of other distributions"),
        (_no_pass_yet, "edge-pass", "warn", "has stored no pass yet"),
        (_not_recoverable, "table/matches", "fail", "no point-in-time recovery"),
        (_never_rotated, "key/data", "warn", "never rotated"),
        (
            _invocation_failed,
            "dead-letters/function-api",
            "fail",
            "failed after all retries",
        ),
        (_function_gone, "function/api", "fail", "does not exist"),
        (_secret_to_be_deleted, "database-secret", "fail", "marked for deletion"),
        (_one_instance, "database", "warn", "no instance in another zone to fail over to"),
        (_other_task, "service", "fail", "instead of"),
        (_at_the_limit, "scaling", "warn", "autoscaling has reached its maximum"),
        (_nothing_scales, "scaling", "fail", "no autoscaling"),
        (_no_stage, "gateway", "fail", "no stage is deployed"),
        (_distribution_off, "cdn", "fail", "is disabled"),
        (_nothing_runs, "zones", "fail", "no task runs in any zone"),
        (_nothing_runs, "service", "fail", "has no service"),
    ],
)
async def test_a_check_reports_a_fault_and_passes_after_the_repair(
    region: Production,
    tmp_path: Path,
    repairs: ExitStack,
    fault: Callable[[Production, ExitStack], None],
    check: str,
    status: str,
    text: str,
) -> None:
    before = (await look(region.contract, tmp_path, check))[check]
    fault(region, repairs)
    result = (await look(region.contract, tmp_path, check))[check]
    assert result.status == status, result
    assert text in result.summary
    assert result.hint
    repairs.close()
    repaired = (await look(region.contract, tmp_path, check))[check]
    assert (repaired.status, repaired.summary) == (before.status, before.summary)


async def test_a_region_without_a_current_copy_of_the_passes_may_refuse_players(
    region: Production, tmp_path: Path, repairs: ExitStack
) -> None:
    elsewhere = region.contract.model_copy(update={"region": OTHER_REGION})

    async def found() -> Finding:
        with RegionClients(region.contract) as clients:
            return await check_edge_pass(RegionContext(elsewhere, clients, None, Thresholds(), tmp_path))

    missing = await found()
    assert (missing.status, missing.evidence["copy"]) == (CheckStatus.FAIL, "missing")
    assert "mjctl deploy" in missing.hint
    manager = region.client("secretsmanager")
    manager.replicate_secret_to_regions(SecretId=production.PASSES, AddReplicaRegions=[{"Region": OTHER_REGION}])
    regions = {"RemoveReplicaRegions": [OTHER_REGION]}
    repairs.callback(manager.remove_regions_from_replication, SecretId=production.PASSES, **regions)
    assert (await found()).status is CheckStatus.PASS


async def test_a_region_without_targets_fails_if_it_is_served(
    region: Production, tmp_path: Path, repairs: ExitStack
) -> None:
    _no_target(region, repairs)
    assert (await look(region.contract, tmp_path, "targets"))["targets"].status is CheckStatus.SKIP
    served = region.contract.endpoints.model_copy(update={"served": True})
    result = (await look(region.contract.model_copy(update={"endpoints": served}), tmp_path, "targets"))["targets"]
    assert result.status is CheckStatus.FAIL
    assert "no player can join a match" in result.summary


async def test_an_unreachable_key_set_is_a_fault_only_in_a_served_region(region: Production, tmp_path: Path) -> None:
    away = region.contract.identity.model_copy(update={"jwks_url": "http://127.0.0.1:1/jwks.json"})
    contract = region.contract.model_copy(update={"identity": away})
    assert (await look(contract, tmp_path, "identity"))["identity"].status is CheckStatus.SKIP
    served = region.contract.endpoints.model_copy(update={"served": True})
    result = (await look(contract.model_copy(update={"endpoints": served}), tmp_path, "identity"))["identity"]
    assert result.status is CheckStatus.FAIL


async def test_the_mail_fails_in_the_sandbox_of_ses_and_without_a_verified_sender(
    region: Production, tmp_path: Path, repairs: ExitStack
) -> None:
    cognito, ses = region.client("cognito-idp"), region.client("sesv2")
    pool, domain = region.contract.identity.user_pool_id, "mail.example.com"
    arn = f"arn:aws:ses:{REGION}:{region.emulators.account_id}:identity/{domain}"
    cognito.update_user_pool(UserPoolId=pool, EmailConfiguration={"EmailSendingAccount": "DEVELOPER", "SourceArn": arn})
    repairs.callback(cognito.update_user_pool, UserPoolId=pool, EmailConfiguration={})
    ses.create_email_identity(EmailIdentity=domain)
    details = {"MailType": "TRANSACTIONAL", "WebsiteURL": "https://arena.example.com"}
    ses.put_account_details(ProductionAccessEnabled=False, **details)
    sandboxed = (await look(region.contract, tmp_path, "mail"))["mail"]
    assert (sandboxed.status, "production access" in str(sandboxed.hint)) == (CheckStatus.FAIL, True)
    ses.put_account_details(ProductionAccessEnabled=True, **details)
    assert (await look(region.contract, tmp_path, "mail"))["mail"].status is CheckStatus.PASS


async def test_another_region_checks_the_user_pool_of_the_primary_region(region: Production, tmp_path: Path) -> None:
    contract = region.contract.model_copy(update={"region": OTHER_REGION})
    assert (await look(contract, tmp_path, "identity"))["identity"].status is CheckStatus.PASS


async def test_a_certificate_warns_and_fails_by_its_remaining_days(region: Production, tmp_path: Path) -> None:
    assert (await look(region.contract, tmp_path, "certificate", certificate_days_warn=400))[
        "certificate"
    ].status is CheckStatus.WARN
    assert (await look(region.contract, tmp_path, "certificate", certificate_days_fail=400))[
        "certificate"
    ].status is CheckStatus.FAIL


async def test_the_global_database_must_contain_the_regions_cluster(
    region: Production, tmp_path: Path, repairs: ExitStack
) -> None:
    rds = region.client("rds")
    cluster = rds.describe_db_clusters(DBClusterIdentifier=f"{NAME}-{REGION}")["DBClusters"][0]["DBClusterArn"]
    copies = f"{NAME}-global"
    rds.create_global_cluster(GlobalClusterIdentifier=copies, SourceDBClusterIdentifier=cluster)
    repairs.callback(rds.delete_global_cluster, GlobalClusterIdentifier=copies)
    repairs.callback(rds.remove_from_global_cluster, GlobalClusterIdentifier=copies, DbClusterIdentifier=cluster)
    named = region.contract.managed.model_copy(update={"database_global_cluster": copies})
    contract = region.contract.model_copy(update={"managed": named})
    result = (await look(contract, tmp_path, "database-regions"))["database-regions"]
    assert (result.status, result.summary) == (CheckStatus.PASS, "writes here, replicated to 0 other regions")
    alone = named.model_copy(update={"database_cluster": "another"})
    result = (await look(contract.model_copy(update={"managed": alone}), tmp_path, "database-regions"))[
        "database-regions"
    ]
    assert result.status is CheckStatus.FAIL
    assert "does not belong" in result.summary


async def test_each_table_and_the_database_must_have_a_backup(
    region: Production, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The emulated AWS Backup completes jobs without making a recovery point, so this test invents recovery points.
    table = region.contract.tables["matches"].arn
    cluster = f"arn:aws:rds:{REGION}:{region.emulators.account_id}:cluster:{NAME}-{REGION}"
    held: list[tuple[str, float]] = [(table, 1)]

    async def points(*_: object) -> list[ManagedBackup]:
        now = datetime.now(UTC)
        return [ManagedBackup("backup", arn, "point", "completed", now - timedelta(hours=age)) for arn, age in held]

    monkeypatch.setattr(backup_check, "recovery_points", points)

    async def check(**bounds: float) -> tuple[str, str]:
        result = (await look(region.contract, tmp_path, "backup", **bounds))["backup"]
        return str(result.status), result.summary

    what = f"no backup of {NAME}-{REGION}"
    assert await check() == ("warn", f"{what} yet, the first backup is due within 24 h")
    # The database was created more than 0.01 s ago, so with a limit of 0.01 s the first backup is overdue.
    assert await check(backup_age_seconds_warn=0.01) == ("fail", f"{what}, a backup is due every 0 min")
    held.append((cluster, 30))
    status, summary = await check()
    assert status == "warn"
    assert f"the newest backup of {NAME}-{REGION} is 30 h old" in summary
    held.append((cluster, 2))
    assert (await check())[0] == "pass"


async def test_a_check_fails_in_an_account_that_is_not_the_contracts_account(
    region: Production, tmp_path: Path
) -> None:
    # The account of the credentials could have an ECS service of the same name, so the check must compare the account
    # with the contract's account.
    other: Any = region.contract.aws.model_copy(update={"account_id": "999999999999", "secret": None})
    result = (await look(region.contract.model_copy(update={"aws": other}), tmp_path, "service"))["service"]
    assert result.status is CheckStatus.FAIL
