"""Creates the roles, the functions and the game servers of production's plan in an emulated AWS."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from production_account import RegionStores, account_of, one

import gameserver
from tests.tiny_game import address
from tools.plan_model import UNKNOWN, Plan, Resource

GAME_DIGEST = "6e" * 32

Json = dict[str, Any]


def image(contract: Mapping[str, Any]) -> str:
    """Return the name of an image whose code the stage has in the release `GAME_DIGEST`."""
    return f"{contract['registry']['repository_url']}@sha256:{hashlib.sha256(GAME_DIGEST.encode()).hexdigest()}"


def write_release(folder: Path) -> None:
    """Make the game server of this checkout a release of the stage whose folder is `folder`."""
    release = folder / "releases" / "game" / GAME_DIGEST
    release.mkdir(parents=True)
    (release / "gameserver").symlink_to(_code())


def _code() -> Path:
    return Path(gameserver.__path__[0])


class Programs:
    """Creates the roles, the functions and the game servers of a plan.

    Args:
        client: returns the client of an AWS service.
        stores: the stores of the region.
        plan: the plan of the region that knows the addresses of the stores.
    """

    def __init__(self, client: Callable[[str], Any], stores: RegionStores, plan: Plan) -> None:
        self._client, self._stores = client, stores
        self._account = account_of(client)
        self.plan = plan
        self.mapping: str | None = None

    def create(self) -> None:
        """Create everything that the plan contains."""
        for group in self.plan.resources("aws_cloudwatch_log_group"):
            self._client("logs").create_log_group(logGroupName=group.get("name"))
        for role in roles(self.plan):
            self._client("iam").create_role(
                RoleName=role.get("name"), AssumeRolePolicyDocument=role.get("assume_role_policy")
            )
        self.put_policies()
        for function in functions(self.plan).values():
            self._create_function(function)
        self.map_queue()
        self._create_service()

    def put_policies(self) -> None:
        """Give each role the policies of the plan, and no other policy."""
        attached = policies(self.plan)
        for role in roles(self.plan):
            statements = [s for policy in attached.get(role.get("name"), ()) for s in json.loads(policy)["Statement"]]
            self._client("iam").put_role_policy(
                RoleName=role.get("name"),
                PolicyName="planned",
                PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
            )

    def start_again(self, name: str) -> None:
        """End the processes of a function. The next call starts a process with the variables of the plan."""
        function = functions(self.plan)[name]
        self._client("lambda").update_function_configuration(
            FunctionName=function.get("function_name"), Environment={"Variables": variables(function)}
        )

    def map_queue(self) -> None:
        """Let the queues of the plan invoke their functions. An earlier mapping ends."""
        lambda_ = self._client("lambda")
        if self.mapping is not None:
            lambda_.delete_event_source_mapping(UUID=self.mapping)
            self.mapping = None
        for mapping in self.plan.resources("aws_lambda_event_source_mapping"):
            self.mapping = lambda_.create_event_source_mapping(
                BatchSize=mapping.get("batch_size"),
                EventSourceArn=mapping.get("event_source_arn"),
                FunctionName=functions(self.plan)[str(mapping.key)].get("function_name"),
                FunctionResponseTypes=mapping.get("function_response_types"),
                ScalingConfig={"MaximumConcurrency": mapping.get("scaling_config.0.maximum_concurrency")},
            )["UUID"]

    def invoke(self, name: str, event: Any) -> Json:
        """Invoke a function. Returns: the answer, or {"errorMessage": ...} if the function failed."""
        function = functions(self.plan)[name].get("function_name")
        answer = self._client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
        content: Json = json.loads(answer["Payload"].read() or b"null")
        return content

    def _create_function(self, function: Resource) -> None:
        inside = {"SecurityGroupIds": [self._stores.group], "SubnetIds": self._stores.subnets}
        self._client("lambda").create_function(
            FunctionName=function.get("function_name"),
            Code={"ZipFile": _archive()},
            Environment={"Variables": variables(function)},
            Handler=function.get("handler"),
            MemorySize=function.get("memory_size"),
            Role=f"arn:aws:iam::{self._account}:role/{_role_of(self.plan, function)}",
            Runtime=function.get("runtime"),
            Timeout=function.get("timeout"),
            **({"VpcConfig": inside} if function.blocks("vpc_config") else {}),
        )

    def register_task(self) -> str:
        """Register the task definition of the plan. Returns: its ARN."""
        task = one(self.plan, "aws_ecs_task_definition", "game_service")
        prefix = f"arn:aws:iam::{self._account}:role/"
        by_name = {r.name: r.get("name") for r in roles(self.plan) if r.module == ("game_service",)}
        registered = self._client("ecs").register_task_definition(
            family=task.get("family"),
            containerDefinitions=json.loads(task.get("container_definitions")),
            cpu=task.get("cpu"),
            executionRoleArn=prefix + by_name["execution"],
            memory=task.get("memory"),
            networkMode=task.get("network_mode"),
            requiresCompatibilities=task.get("requires_compatibilities"),
            taskRoleArn=prefix + by_name["task"],
            volumes=[{"name": volume["name"]} for volume in task.blocks("volume")],
        )
        return str(registered["taskDefinition"]["taskDefinitionArn"])

    def run_task(self) -> str:
        """Start a further game server of the plan's task definition. Returns: the ARN of its task."""
        ran = self._client("ecs").run_task(
            cluster=self.cluster,
            launchType="FARGATE",
            networkConfiguration=self._network(),
            taskDefinition=self.register_task(),
        )
        return str(ran["tasks"][0]["taskArn"])

    def task(self, arn: str) -> Json:
        """Return the description of a task."""
        described: Json = self._client("ecs").describe_tasks(cluster=self.cluster, tasks=[arn])["tasks"][0]
        return described

    def kill_tasks(self, *arns: str) -> None:
        """Stop tasks without their time to drain."""
        addresses = {address(task) for arn in arns if (task := self.task(arn))["lastStatus"] == "RUNNING"}
        for arn in arns:
            self._client("ecs").stop_task(cluster=self.cluster, task=arn)
        for connection in psutil.net_connections("tcp4"):
            if connection.status == "LISTEN" and connection.laddr.ip in addresses and connection.pid:
                with suppress(psutil.NoSuchProcess):
                    psutil.Process(connection.pid).kill()

    def stop(self) -> None:
        """End all functions and game servers, so that the emulated AWS need not wait for their connections."""
        for function in functions(self.plan).values():
            self._client("lambda").delete_function(FunctionName=function.get("function_name"))
        self._client("ecs").update_service(cluster=self.cluster, service=f"{self.cluster}-game", desiredCount=0)
        self.kill_tasks(*(task["taskArn"] for task in self.tasks()))

    def _network(self) -> Json:
        return {"awsvpcConfiguration": {"securityGroups": [self._stores.group], "subnets": self._stores.subnets}}

    @property
    def cluster(self) -> str:
        """Return the name of the ECS cluster, which the permissions of the game server contain."""
        return str(one(self.plan, "aws_ecs_task_definition", "game_service").get("family")).removesuffix("-game")

    def _create_service(self) -> None:
        ecs = self._client("ecs")
        ecs.create_cluster(clusterName=self.cluster)
        ecs.create_service(
            cluster=self.cluster,
            desiredCount=1,
            launchType="FARGATE",
            networkConfiguration=self._network(),
            serviceName=f"{self.cluster}-game",
            taskDefinition=self.register_task(),
        )

    def tasks(self, status: str = "RUNNING") -> list[Json]:
        """Return the game servers' tasks, by the status that ECS wants."""
        ecs = self._client("ecs")
        arns = ecs.list_tasks(cluster=self.cluster, desiredStatus=status)["taskArns"]
        return list(ecs.describe_tasks(cluster=self.cluster, tasks=arns)["tasks"]) if arns else []


def functions(plan: Plan) -> dict[str, Resource]:
    """Return the functions of a plan by their names in the stack, e.g. `api`."""
    return {str(function.key): function for function in plan.resources("aws_lambda_function")}


def variables(function: Resource) -> dict[str, str]:
    """Return the environment variables of a function."""
    planned = function.get("environment.0.variables")
    assert planned is not UNKNOWN, f"the plan does not know the variables of {function.address}"
    return dict(planned)


def roles(plan: Plan) -> list[Resource]:
    """Return the roles of functions and game servers."""
    return [role for role in plan.resources("aws_iam_role") if _runs_a_program(role)]


def policies(plan: Plan) -> dict[str, list[str]]:
    """Return the documents of the policies that are attached to each role, by the name of the role."""
    attached: dict[str, list[str]] = {}
    known = {(p.module, p.name, p.key): p.get("policy") for p in plan.resources("aws_iam_policy")}
    for attachment in plan.resources("aws_iam_role_policy_attachment"):
        for origin in attachment.origins("policy_arn"):
            document = known.get((attachment.module, origin.partition(".")[2], attachment.key))
            if document is not None:
                attached.setdefault(attachment.get("role"), []).append(document)
    return attached


def _runs_a_program(role: Resource) -> bool:
    trusted = json.loads(role.get("assume_role_policy"))["Statement"]
    statements = trusted if isinstance(trusted, list) else [trusted]
    services = {s.get("Principal", {}).get("Service") for s in statements if isinstance(s.get("Principal"), dict)}
    return bool(services & {"ecs-tasks.amazonaws.com", "lambda.amazonaws.com"})


def _role_of(plan: Plan, function: Resource) -> str:
    (role,) = (r for r in roles(plan) if (r.module, r.key) == (function.module, function.key))
    return str(role.get("name"))


def _archive() -> bytes:
    """Return an archive with the code of this checkout. The functions import the packages of this Python."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in _files(_code()):
            archive.write(file, Path("gameserver") / file.relative_to(_code()))
    return content.getvalue()


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file() and "__pycache__" not in file.parts)
