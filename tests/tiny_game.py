"""A tiny game as the release of a stage, and an ECS cluster that runs it.

The processes start in a fraction of a second. A task definition tells the game in the variable GAME what to do.
"""

from __future__ import annotations

import hashlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil

from mjctl.sandbox.emulators import Emulators

Value = TypeVar("Value")

REGION = "us-east-1"
DIGEST = "5f" * 32
CLUSTER = "arena"
LOG_GROUP = "/arena/game"
PORT = 8080

SOURCE = """
import http.server, json, os, signal, sys, time

wishes = os.environ.get("GAME", "").split()
print("game", sys.argv[1], "begins", flush=True)
if "crash" in wishes:
    sys.exit(3)

def end(*_):
    print("game ends in order", flush=True)
    if "farewell" in wishes:
        import boto3
        boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody="farewell")
    if "deaf" not in wishes:
        sys.exit(0)

signal.signal(signal.SIGTERM, end)

class Handler(http.server.BaseHTTPRequestHandler):
    sick = "sick" in wishes

    def do_GET(self):
        code, document = 200, {}
        if self.path == "/environment":
            document = dict(os.environ)
        elif self.path == "/fall-ill":
            Handler.sick = True
        elif self.path == "/healthz" and Handler.sick:
            code = 503
        elif self.path == "/identity":
            import boto3
            document = {"arn": boto3.client("sts").get_caller_identity()["Arn"]}
        elif self.path.startswith("/send"):
            import boto3
            try:
                boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody="a")
            except Exception as error:
                document = {"error": str(error)}
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

    def log_message(self, *_):
        pass

address = os.environ["GAMESERVER_HOST"], int(os.environ["GAMESERVER_PORT"])
http.server.ThreadingHTTPServer(address, Handler).serve_forever()
"""

HEALTH_CHECK: Mapping[str, Any] = {
    "command": [
        "CMD",
        "python",
        "-c",
        f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{PORT}/healthz', timeout=2)",
    ],
    "interval": 1,
    "retries": 2,
    "timeout": 2,
}


def write_release(folder: Path, digest: str = DIGEST) -> None:
    """Write the game as a release into the folder of a release store."""
    package = folder / "game" / digest / "gameserver"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(SOURCE, encoding="utf-8")


def image(account_id: str, digest: str = DIGEST) -> str:
    """Return the name of the image of a release."""
    manifest = hashlib.sha256(digest.encode()).hexdigest()
    return f"{account_id}.dkr.ecr.{REGION}.amazonaws.com/arena@sha256:{manifest}"


def eventually(ask: Callable[[], Value], seconds: float = 20.0) -> Value:
    """Return the first true result of `ask`."""
    deadline = time.monotonic() + seconds
    while not (result := ask()):
        assert time.monotonic() < deadline, "the state was not reached in time"
        time.sleep(0.1)
    return result


class TinyCluster:
    """Creates an ECS cluster in the emulated AWS, with roles and subnets in two zones."""

    def __init__(self, client: Callable[[str], Any], account_id: str) -> None:
        self.client, self.account_id = client, account_id
        self.ecs = client("ecs")

    def create(self) -> None:
        """Create the cluster, its network, its log group and its roles."""
        ec2, logs = self.client("ec2"), self.client("logs")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnets = [
            ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{index}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"][
                "SubnetId"
            ]
            for index, zone in enumerate("ab")
        ]
        self.ecs.create_cluster(clusterName=CLUSTER)
        logs.create_log_group(logGroupName=LOG_GROUP)
        self.execution = self.role(
            "execution",
            ["ecr:*", "logs:*", "secretsmanager:GetSecretValue"],
        )
        self.task_role = self.role("task", ["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"])

    def role(self, name: str, actions: Sequence[str], *, trusts: str = "ecs-tasks.amazonaws.com") -> str:
        """Create a role with rights on all resources. Returns its ARN."""
        iam = self.client("iam")
        statement = {
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": self.account_id}},
            "Effect": "Allow",
            "Principal": {"Service": trusts},
        }
        arn: str = iam.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=json.dumps({"Statement": [statement], "Version": "2012-10-17"}),
        )["Role"]["Arn"]
        self.allow(name, actions)
        return arn

    def allow(self, role: str, actions: Sequence[str]) -> None:
        """Replace the rights of a role, which are on all resources."""
        rights = {"Action": actions, "Effect": "Allow", "Resource": "*"}
        document = json.dumps({"Statement": [rights], "Version": "2012-10-17"})
        self.client("iam").put_role_policy(RoleName=role, PolicyName="rights", PolicyDocument=document)

    def register(self, family: str, game: str = "", **changes: Any) -> str:
        """Register a task definition. Returns its ARN.

        Args:
            family: The family of the task definition.
            game: The value of the variable GAME.
            changes: Fields of the container definition, or `task_role`, `execution`, `variables` and `sidecars`, the
                values of GAME of further containers by name.
        """
        variables = {"GAME": game, "GAMESERVER_HOST": "0.0.0.0", "GAMESERVER_PORT": str(PORT)}  # noqa: S104
        variables |= changes.pop("variables", {})
        roles = {
            "executionRoleArn": changes.pop("execution", self.execution),
            "taskRoleArn": changes.pop("task_role", self.task_role),
        }
        sidecars = changes.pop("sidecars", {})
        container = {
            "name": "game",
            "command": ["serve"],
            "environment": [{"name": name, "value": value} for name, value in variables.items()],
            "essential": True,
            "image": image(self.account_id),
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": LOG_GROUP,
                    "awslogs-region": REGION,
                    "awslogs-stream-prefix": "game",
                },
            },
            "portMappings": [{"containerPort": PORT}],
            "stopTimeout": 2,
            **changes,
        }
        others = [
            {
                **container,
                "name": name,
                "environment": [
                    {"name": "GAME", "value": value},
                    {"name": "GAMESERVER_PORT", "value": str(PORT + index)},
                ],
                "essential": False,
                "portMappings": [],
            }
            for index, (name, value) in enumerate(sidecars.items(), start=1)
        ]
        arn: str = self.ecs.register_task_definition(
            family=family,
            containerDefinitions=[container, *others],
            cpu="256",
            memory="512",
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            **roles,
        )["taskDefinition"]["taskDefinitionArn"]
        return arn

    def serve(self, name: str, definition: str, count: int = 1, **changes: Any) -> None:
        """Create a service."""
        self.ecs.create_service(
            cluster=CLUSTER,
            desiredCount=count,
            launchType="FARGATE",
            serviceName=name,
            taskDefinition=definition,
            **{
                "networkConfiguration": {"awsvpcConfiguration": {"subnets": self.subnets}},
                "deploymentConfiguration": {
                    "deploymentCircuitBreaker": {"enable": True, "rollback": True},
                    "maximumPercent": 200,
                    "minimumHealthyPercent": 100,
                },
                **changes,
            },
        )

    def service(self, name: str) -> Any:
        """Return the description of a service."""
        return self.ecs.describe_services(cluster=CLUSTER, services=[name])["services"][0]

    def is_stable(self, name: str) -> bool:
        """Return whether a service has only one deployment, which is complete."""
        service = self.service(name)
        deployments = service["deployments"]
        return (
            len(deployments) == 1
            and deployments[0]["rolloutState"] == "COMPLETED"
            and service["runningCount"] == service["desiredCount"]
        )

    def tasks(self, name: str, status: str = "RUNNING") -> list[Any]:
        """Return the descriptions of the tasks of a service, by the status that ECS wants."""
        arns = self.ecs.list_tasks(cluster=CLUSTER, desiredStatus=status, serviceName=name)["taskArns"]
        return self.ecs.describe_tasks(cluster=CLUSTER, tasks=arns)["tasks"] if arns else []

    def task(self, arn: str) -> Any:
        """Return the description of a task."""
        return self.ecs.describe_tasks(cluster=CLUSTER, tasks=[arn])["tasks"][0]

    def stopped(self, arn: str) -> Any:
        """Return the description of a task after its end."""
        return eventually(lambda: (task := self.task(arn))["lastStatus"] == "STOPPED" and task)

    def remove(self, name: str) -> None:
        """Delete a service and wait for the end of its tasks."""
        self.ecs.delete_service(cluster=CLUSTER, service=name, force=True)
        eventually(lambda: self.service(name)["status"] == "INACTIVE")

    def log(self, task: Any) -> list[str]:
        """Return the lines of a task in CloudWatch."""
        stream = f"game/game/{task['taskArn'].rsplit('/', 1)[-1]}"
        events = self.client("logs").get_log_events(logGroupName=LOG_GROUP, logStreamName=stream)["events"]
        return [event["message"] for event in events]


def address(task: Any) -> str:
    """Return the private address of a task."""
    details = {detail["name"]: detail["value"] for detail in task["attachments"][0]["details"]}
    return str(details["privateIPv4Address"])


def get(task: Any, path: str, port: int = PORT) -> Any:
    """Return the document at a path of a task's game."""
    with urllib.request.urlopen(f"http://{address(task)}:{port}{path}", timeout=5) as answer:
        return json.load(answer)


def process_of(task: Any, port: int = PORT) -> psutil.Process:
    """Return the process that listens at the address of a task. A running task may need seconds until it listens."""

    def listening() -> psutil.Process | None:
        for connection in psutil.net_connections("tcp4"):
            if connection.laddr == (address(task), port) and connection.status == "LISTEN":
                return psutil.Process(connection.pid)
        return None

    process = eventually(listening)
    assert process is not None
    return process


def ask(url: str, headers: Mapping[str, str] | None = None, *, method: str = "GET", body: bytes | None = None) -> Any:
    """Return the status and the JSON document for a request to the agent of the tasks."""
    request = urllib.request.Request(url, headers=dict(headers or {}), method=method, data=body)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - the agent's address
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@contextmanager
def running_cluster(folder: Path, *others: str) -> Iterator[TinyCluster]:
    """Run a stage with the tiny game as its only release, and an ECS cluster.

    Args:
        folder: The folder of the stage.
        others: The emulators beside ministack that run, e.g. `moto`.
    """
    write_release(folder / "releases")
    with Emulators(folder, names=["ministack", *others], stage=True) as emulators:
        cluster = TinyCluster(lambda service: emulators.client(service, REGION), emulators.account_id)
        cluster.create()
        yield cluster
