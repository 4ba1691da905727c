"""Tests that a release's code reaches the function `migrate`, a real Lambda of the emulated AWS, and its answers."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

import pytest

from mjctl.clients.migrate_function import MigrateFunction
from mjctl.models.contract import Contract
from mjctl.models.deployment import SchemaUpdate
from mjctl.models.errors import NotFoundError, UnreachableError, VerificationError
from mjctl.sandbox.emulators import Emulators
from tests.factories import contract
from tests.integration.mjctl.ops_lambda import packed

pytestmark = pytest.mark.infra

REGION = "us-east-1"
NAME = "arena-it-migrate"
MANAGED = {
    "alarm_prefix": "a-",
    "alarm_topic": "arn:topic",
    "api_id": "a",
    "cache_group": "a",
    "certificate": "arn:certificate",
    "database_cluster": "a",
    "functions": {"migrate": NAME},
    "load_balancer": "arn:balancer",
    "primary_region": REGION,
    "target_group": "arn:group",
    "web_acl": "arn:acl",
    "web_domain": "example.com",
}

Archive = tuple[bytes, str]


def archive(answer: str) -> Archive:
    """Return an archive whose function returns the Python expression `answer`, and the archive's digest."""
    content = packed({"fn.py": f"def handler(event, context):\n    return {answer}\n"})
    return content, base64.b64encode(hashlib.sha256(content).digest()).decode()


@pytest.fixture(scope="module")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    with Emulators(tmp_path_factory.mktemp("lambda"), names=["ministack"]) as running:
        running.client("lambda", REGION).create_function(
            FunctionName=NAME,
            Runtime="python3.11",
            Role="arn:aws:iam::123456789012:role/migrate",
            Handler="fn.handler",
            Code={"ZipFile": archive("{'heads': [], 'applied': ['old code']}")[0]},
            Timeout=30,
        )
        yield running


@pytest.fixture
def region(emulators: Emulators) -> Contract:
    aws = {"endpoint_url": emulators.url("ministack"), "account_id": "123456789012"}
    return contract(REGION, aws={**aws, "secret": f"file:{emulators.key_file}"}, fleet={"kind": "ecs"}, managed=MANAGED)


async def test_the_function_runs_the_code_of_the_release(region: Contract, emulators: Emulators) -> None:
    content, digest = archive("{'heads': ['0003'], 'applied': ['0004_new']}")
    assert await MigrateFunction(region).run(content, digest) == SchemaUpdate(REGION, ("0003",), ("0004_new",))
    deployed = emulators.client("lambda", REGION).get_function_configuration(FunctionName=NAME)
    assert deployed["CodeSha256"] == digest


async def test_the_code_is_not_sent_twice(region: Contract) -> None:
    content, digest = archive("{'heads': ['0004'], 'applied': []}")
    await MigrateFunction(region).run(content, digest)
    assert await MigrateFunction(region).run(b"not an archive", digest) == SchemaUpdate(REGION, ("0004",), ())


async def test_a_failed_migration_is_named(region: Contract) -> None:
    error = {"code": "migration_failed", "migration": "0005_new", "message": "no such column"}
    with pytest.raises(VerificationError, match=r"the migration 0005_new failed, .*: no such column") as failed:
        await MigrateFunction(region).run(*archive(f"{{'error': {error!r}}}"))
    assert f"/aws/lambda/{NAME}" in str(failed.value.hint)


async def test_the_migrations_before_a_failed_concurrent_index_are_named(region: Contract) -> None:
    error = {"code": "migration_failed", "migration": "0006_i", "message": "duplicate key", "kept": ["0005_t"]}
    with pytest.raises(VerificationError, match=r"0006_i failed, and the schema is unchanged except for 0005_t: dup"):
        await MigrateFunction(region).run(*archive(f"{{'error': {error!r}}}"))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("{'error': {'code': 'database_unavailable', 'migration': None, 'message': 'gone'}}", "database: gone"),
        ("1 / 0", "division by zero"),
    ],
)
async def test_a_function_that_cannot_work_is_unreachable(region: Contract, answer: str, message: str) -> None:
    with pytest.raises(UnreachableError, match=message):
        await MigrateFunction(region).run(*archive(answer))


def test_a_region_of_an_older_release_has_no_function() -> None:
    with pytest.raises(NotFoundError, match="no function `migrate`"):
        MigrateFunction(contract())
