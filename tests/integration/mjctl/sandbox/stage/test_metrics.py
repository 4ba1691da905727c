"""Tests that the stage publishes metrics with AWS's names and dimensions, and that alarms fire and notify."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mjctl.sandbox.emulators import ACCOUNT_ID, Emulators
from tools.cloudwatch_metrics import fault

pytestmark = pytest.mark.timeout(240)

REGION = "eu-west-1"
STATUS = {"event": "server_status", "players": 12, "matches": 3}
PROGRAM = "def handler(event, context):\n    return 1 / event['divisor']\n"
CLOUDWATCH = {
    "Effect": "Allow",
    "Action": "sns:Publish",
    "Resource": "*",
    "Principal": {"Service": "cloudwatch.amazonaws.com"},
    "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT_ID}},
}


class World:
    """Holds a stage whose metrics of the first minute are published."""

    def __init__(self, running: Emulators) -> None:
        self.running = running
        self.queues: dict[str, str] = {}
        self._create_messages()
        self._create_alarms()
        self._create_logs()
        self._create_function()
        self._create_cache()
        self._create_database()
        self._wait_for_nodes()
        self._wait(lambda: self.points("AWS/ElastiCache", "CurrConnections", CacheClusterId="cache-001"), 90)
        self._wait(lambda: self.state("heard") == "ALARM", 20)
        self._wait(lambda: self.state("unheard") == "ALARM", 20)

    def client(self, service: str) -> Any:
        return self.running.client(service, REGION)

    def points(self, namespace: str, name: str, statistic: str = "Sum", **dimensions: str) -> list[float]:
        now = datetime.now(UTC)
        answer = self.client("cloudwatch").get_metric_statistics(
            Namespace=namespace,
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            StartTime=now - timedelta(minutes=10),
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=[statistic],
        )
        return [point[statistic] for point in answer["Datapoints"]]

    def state(self, alarm: str) -> str:
        (described,) = self.client("cloudwatch").describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
        return str(described["StateValue"])

    def messages(self, queue: str) -> list[dict[str, Any]]:
        answer = self.client("sqs").receive_message(
            QueueUrl=self.queues[queue], MaxNumberOfMessages=10, WaitTimeSeconds=1, VisibilityTimeout=0
        )
        return [json.loads(message["Body"]) for message in answer.get("Messages", ())]

    def _create_messages(self) -> None:
        sqs = self.client("sqs")
        for name in ("work", "heard", "unheard"):
            self.queues[name] = sqs.create_queue(QueueName=name)["QueueUrl"]
        sqs.send_message(QueueUrl=self.queues["work"], MessageBody="{}")

    def _create_alarms(self) -> None:
        sns, cloudwatch = self.client("sns"), self.client("cloudwatch")
        for name in ("heard", "unheard"):
            topic = sns.create_topic(Name=name)["TopicArn"]
            statements = [CLOUDWATCH] if name == "heard" else []
            policy = {"Version": "2012-10-17", "Statement": statements}
            sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps(policy))
            queue = f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:{name}"
            sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
            allowed = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*", "Principal": {"AWS": "*"}}
            document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
            self.client("sqs").set_queue_attributes(QueueUrl=self.queues[name], Attributes={"Policy": document})
            cloudwatch.put_metric_alarm(**_alarm(name, "work"), AlarmActions=[topic])
        for name, queue in (("wrong-queue", "other"), ("silent", "other")):
            missing = "breaching" if name == "silent" else "notBreaching"
            cloudwatch.put_metric_alarm(**{**_alarm(name, queue), "TreatMissingData": missing})

    def _create_logs(self) -> None:
        logs = self.client("logs")
        logs.create_log_group(logGroupName="game")
        logs.create_log_stream(logGroupName="game", logStreamName="task")
        logs.put_metric_filter(
            logGroupName="game",
            filterName="players",
            filterPattern='{ $.event = "server_status" && $.players >= 0 }',
            metricTransformations=[
                {
                    "metricName": "PlayersPerTask",
                    "metricNamespace": "arena",
                    "metricValue": "$.players",
                    "unit": "Count",
                }
            ],
        )
        now = int(time.time() * 1000)
        lines = [json.dumps(STATUS), json.dumps({**STATUS, "players": 4}), json.dumps({"event": "other"}), "text"]
        logs.put_log_events(
            logGroupName="game",
            logStreamName="task",
            logEvents=[{"timestamp": now, "message": line} for line in lines],
        )

    def _create_function(self) -> None:
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        role = self.client("iam").create_role(RoleName="divide", AssumeRolePolicyDocument=document)["Role"]["Arn"]
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as stream:
            stream.writestr("index.py", PROGRAM)
        functions = self.client("lambda")
        functions.create_function(
            FunctionName="divide",
            Code={"ZipFile": archive.getvalue()},
            Handler="index.handler",
            Role=role,
            Runtime="python3.12",
            Timeout=30,
        )
        functions.get_waiter("function_active_v2").wait(FunctionName="divide")
        for divisor in (1, 0):
            functions.invoke(FunctionName="divide", Payload=json.dumps({"divisor": divisor}))
        functions.put_function_concurrency(FunctionName="divide", ReservedConcurrentExecutions=0)
        with pytest.raises(functions.exceptions.TooManyRequestsException):
            functions.invoke(FunctionName="divide", Payload=json.dumps({"divisor": 1}))

    def _create_cache(self) -> None:
        self.client("elasticache").create_replication_group(
            ReplicationGroupId="cache",
            ReplicationGroupDescription="cache",
            CacheNodeType="cache.t4g.small",
            Engine="valkey",
            NumCacheClusters=2,
            AutomaticFailoverEnabled=True,
        )

    def _create_database(self) -> None:
        rds = self.client("rds")
        rds.create_db_cluster(
            DBClusterIdentifier="results",
            Engine="aurora-postgresql",
            MasterUsername="game",
            MasterUserPassword="not-a-secret-1",
        )
        for name in ("results-1", "results-2"):
            rds.create_db_instance(
                DBInstanceIdentifier=name,
                DBInstanceClass="db.r7g.large",
                DBClusterIdentifier="results",
                Engine="aurora-postgresql",
            )

    def _wait_for_nodes(self) -> None:
        def available() -> bool:
            (group,) = self.client("elasticache").describe_replication_groups(ReplicationGroupId="cache")[
                "ReplicationGroups"
            ]
            instances = self.client("rds").describe_db_instances()["DBInstances"]
            states = {group["Status"], *(instance["DBInstanceStatus"] for instance in instances)}
            return states == {"available"}

        self._wait(available, 90)

    @staticmethod
    def _wait(condition: Callable[[], object], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.5)


def _alarm(name: str, queue: str) -> dict[str, Any]:
    return {
        "AlarmName": name,
        "AlarmDescription": "Runbook",
        "ComparisonOperator": "GreaterThanThreshold",
        "Dimensions": [{"Name": "QueueName", "Value": queue}],
        "EvaluationPeriods": 1,
        "MetricName": "ApproximateNumberOfMessagesVisible",
        "Namespace": "AWS/SQS",
        "Period": 60,
        "Statistic": "Maximum",
        "Threshold": 0,
        "TreatMissingData": "notBreaching",
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Emulators(tmp_path_factory.mktemp("stage"), stage=True) as running:
        yield World(running)


def test_the_messages_of_a_queue_are_measured(world: World) -> None:
    assert set(world.points("AWS/SQS", "ApproximateNumberOfMessagesVisible", QueueName="work")) == {1.0}
    assert min(world.points("AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum", QueueName="work")) > 0
    assert world.points("AWS/SQS", "ApproximateAgeOfOldestMessage", QueueName="other") == []


def test_the_invocations_of_a_function_are_counted(world: World) -> None:
    counted = {
        name: sum(world.points("AWS/Lambda", name, FunctionName="divide"))
        for name in ("Invocations", "Errors", "Throttles")
    }
    # boto3 repeats the call that was throttled.
    assert counted.pop("Throttles") >= 1.0
    assert counted == {"Invocations": 2.0, "Errors": 1.0}
    assert max(world.points("AWS/Lambda", "Duration", "Maximum", FunctionName="divide")) > 0


def test_a_metric_filter_finds_the_players_in_the_log(world: World) -> None:
    assert world.points("arena", "PlayersPerTask", "Average") == [8.0]
    assert world.points("arena", "PlayersPerTask", "SampleCount") == [2.0]


def test_the_nodes_of_the_cache_are_measured(world: World) -> None:
    for member in ("cache-001", "cache-002"):
        memory = world.points("AWS/ElastiCache", "DatabaseMemoryUsagePercentage", "Maximum", CacheClusterId=member)
        assert 0 < max(memory) < 100
        assert set(world.points("AWS/ElastiCache", "Evictions", CacheClusterId=member)) == {0.0}
        assert min(world.points("AWS/ElastiCache", "CurrConnections", CacheClusterId=member)) >= 0
    assert max(world.points("AWS/ElastiCache", "EngineCPUUtilization", "Maximum", CacheClusterId="cache-001")) > 0
    assert world.points("AWS/ElastiCache", "ReplicationLag", CacheClusterId="cache-001") == []
    assert max(world.points("AWS/ElastiCache", "ReplicationLag", "Maximum", CacheClusterId="cache-002")) < 60


def test_the_instances_of_the_database_are_measured(world: World) -> None:
    assert 0 <= max(world.points("AWS/RDS", "AuroraReplicaLagMaximum", "Maximum", DBClusterIdentifier="results")) < 9e4
    assert max(world.points("AWS/RDS", "CPUUtilization", "Maximum", DBClusterIdentifier="results")) > 0
    assert min(world.points("AWS/RDS", "DatabaseConnections", "Maximum", DBInstanceIdentifier="results-1")) >= 0


def test_an_alarm_fires_and_notifies_its_topic(world: World) -> None:
    (message,) = world.messages("heard")
    assert message["Subject"] == f'ALARM: "heard" in {REGION}'
    notified = json.loads(message["Message"])
    assert (notified["OldStateValue"], notified["NewStateValue"]) == ("INSUFFICIENT_DATA", "ALARM")
    assert notified["Trigger"]["Dimensions"] == [{"value": "work", "name": "QueueName"}]


def test_cloudwatch_needs_the_permission_of_the_topic(world: World) -> None:
    assert world.messages("unheard") == []


def test_an_alarm_on_a_metric_that_the_stage_does_not_publish_never_fires(world: World) -> None:
    assert world.state("wrong-queue") == "OK"
    assert world.state("silent") == "ALARM"


def test_the_stage_publishes_only_metrics_with_dimensions_of_aws(world: World) -> None:
    metrics = world.client("cloudwatch").list_metrics()["Metrics"]
    faults = [
        fault(metric["Namespace"], metric["MetricName"], [item["Name"] for item in metric["Dimensions"]])
        for metric in metrics
        if metric["Namespace"].startswith(("AWS/", "ECS/"))
    ]
    assert [text for text in faults if text] == []
    assert len(faults) > 15
