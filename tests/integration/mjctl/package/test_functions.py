"""Tests of the functions' archive, which the real pip builds, and a bare interpreter and an emulated Lambda run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mjctl.models.errors import ConfigError, NotFoundError, UnreachableError
from mjctl.package import functions
from mjctl.package.functions import FunctionPackage, build_functions, lambda_runtime, local_runtime
from mjctl.sandbox.emulators import Emulators

pytestmark = pytest.mark.infra

PROJECT = Path(__file__).parents[4]
HANDLERS = {
    "api": {"routeKey": "GET /none", "requestContext": {"requestId": "r-1", "http": {"sourceIp": "192.0.2.1"}}},
    "auth": {"routeKey": "GET /none", "requestContext": {"requestId": "r-1", "http": {"sourceIp": "192.0.2.1"}}},
    "persistence": {"Records": []},
    "migrate": {},
    "ops": {"command": "none"},
}
VARIABLES = {
    "GAMESERVER_PROJECT": "arena",
    "GAMESERVER_ENVIRONMENT": "test",
    "GAMESERVER_REGION": "us-east-1",
    "GAMESERVER_CLIENT_ID": "client",
    # No database listens at this port.
    "GAMESERVER_DATABASE_HOST": "127.0.0.1",
    "GAMESERVER_DATABASE_NAME": "game",
    "GAMESERVER_DATABASE_PORT": "1",
    "GAMESERVER_DATABASE_USER": "game",
}
# Program that runs a handler as Lambda's runtime does, without other packages: `-I` makes Python ignore PYTHONPATH and
# the user's packages.
RUNTIME = """
import json, sys, types
sys.path = [entry for entry in sys.path if "site-packages" not in entry]
sys.path.insert(0, sys.argv[1])
from gameserver.functions import lambda_handlers
context = types.SimpleNamespace(aws_request_id="r-1", get_remaining_time_in_millis=lambda: 5000)
answer = getattr(lambda_handlers, sys.argv[2])(json.loads(sys.argv[3]), context)
from gameserver.runtime.aws import AwsClients
clients = AwsClients("us-east-1", None)
for service in sys.argv[4].split(","):
    clients._client(service)
print(json.dumps(answer))
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packages")


@pytest.fixture(scope="module")
def package(cache: Path) -> FunctionPackage:
    return build_functions(PROJECT, cache, local_runtime())


@pytest.fixture(scope="module")
def unzipped(package: FunctionPackage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unzipped")
    with zipfile.ZipFile(package.path) as archive:
        archive.extractall(folder)
    return folder


def services_of_the_game() -> set[str]:
    """Return the AWS services for which gameserver/runtime/aws.py creates clients of functions.

    Only the backup task uses S3, and the backup task does not run from the archive of the functions.
    """
    source = (PROJECT / "gameserver" / "runtime" / "aws.py").read_text(encoding="utf-8")
    return set(re.findall(r'_client\("([a-z0-9-]+)"', source)) - {"s3"}


def test_the_digest_and_the_sizes_describe_the_archive(package: FunctionPackage) -> None:
    content = package.path.read_bytes()
    assert package.sha256_base64 == base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert package.zipped_bytes == len(content) < 30 * 2**20
    assert package.built


@pytest.mark.parametrize("handler", HANDLERS)
def test_every_handler_runs_from_the_archive_alone(unzipped: Path, handler: str) -> None:
    services = ",".join(sorted(services_of_the_game()))
    done = subprocess.run(
        [sys.executable, "-I", "-c", RUNTIME, str(unzipped), handler, json.dumps(HANDLERS[handler]), services],
        env={**VARIABLES, "AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    if handler in ("api", "auth"):
        assert (answer["statusCode"], json.loads(answer["body"])["error"]["code"]) == (404, "not_found")
    elif handler == "persistence":
        assert answer == {"batchItemFailures": []}
    elif handler == "migrate":
        assert answer["error"]["code"] == "database_unavailable"
    else:
        assert answer["error"]["code"] == "invalid_request"


def test_the_handlers_of_terraform_are_those_of_this_test() -> None:
    text = (PROJECT / "terraform" / "stacks" / "region" / "api.tf").read_text(encoding="utf-8")
    assert set(re.findall(r'"gameserver\.functions\.lambda_handlers\.(\w+)"', text)) == set(HANDLERS)


def test_an_emulated_lambda_runs_the_archive(package: FunctionPackage, tmp_path: Path) -> None:
    with Emulators(tmp_path, names=["ministack"]) as emulators:
        role = emulators.client("iam", "us-east-1").create_role(RoleName="fn", AssumeRolePolicyDocument="{}")
        client = emulators.client("lambda", "us-east-1")
        created = client.create_function(
            FunctionName="auth",
            Runtime="python3.13",
            Handler="gameserver.functions.lambda_handlers.auth",
            Role=role["Role"]["Arn"],
            Code={"ZipFile": package.path.read_bytes()},
            Timeout=30,
            Environment={"Variables": VARIABLES},
        )
        assert created["CodeSha256"] == package.sha256_base64
        answer = client.invoke(FunctionName="auth", Payload=json.dumps(HANDLERS["auth"]))
        body = json.loads(answer["Payload"].read())
        assert body["statusCode"] == 404, body


def test_the_same_code_gives_the_same_bytes(package: FunctionPackage, cache: Path, tmp_path: Path) -> None:
    again = build_functions(PROJECT, cache, local_runtime())
    assert not again.built
    # Build the archive again from a checkout with other file times, with a `__pycache__` folder, and with the
    # dependencies in another folder.
    shutil.copytree(PROJECT / "gameserver", tmp_path / "gameserver", copy_function=shutil.copy)
    caches = tmp_path / "gameserver" / "__pycache__"
    caches.mkdir(exist_ok=True)
    (caches / "new.cpython-311.pyc").write_bytes(b"x")
    (dependencies,) = cache.glob("dependencies-*")
    shutil.copytree(dependencies, tmp_path / "cache" / dependencies.name, copy_function=shutil.copy)
    other = build_functions(tmp_path, tmp_path / "cache", local_runtime())
    assert other.built
    assert other.path.name == package.path.name
    assert other.sha256_base64 == package.sha256_base64

    with (tmp_path / "gameserver" / "cluster" / "closure.py").open("a") as source:
        source.write("\n")
    changed = build_functions(tmp_path, tmp_path / "cache", local_runtime())
    assert changed.built
    assert changed.sha256_base64 != package.sha256_base64


def test_the_archive_contains_no_path_of_this_machine(package: FunctionPackage, cache: Path) -> None:
    with zipfile.ZipFile(package.path) as archive:
        names = archive.namelist()
        assert {(entry.date_time, entry.external_attr >> 16) for entry in archive.infolist()} == {
            ((1980, 1, 1, 0, 0, 0), 0o100644)
        }
        for name in names:
            assert str(cache).encode() not in archive.read(name), name
            assert str(PROJECT).encode() not in archive.read(name), name
    assert names == sorted(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith(("bin/", "mjctl"))]
    assert {name.split("/")[0] for name in names if name.startswith(("uvloop", "picows"))} == set()


def test_the_archive_describes_the_services_that_the_game_calls() -> None:
    assert services_of_the_game() | {"sts"} == functions.AWS_SERVICES


def test_the_archive_for_lambda_has_lambdas_python_and_architecture(tmp_path: Path) -> None:
    runtime = lambda_runtime("arm64")
    assert runtime.python == _terraform_default("runtime").removeprefix("python")
    package = build_functions(PROJECT, tmp_path, runtime)
    with zipfile.ZipFile(package.path) as archive:
        compiled = [name for name in archive.namelist() if name.endswith(".so")]
    assert len(compiled) > 10
    assert [name for name in compiled if not re.search(r"(cpython-313|abi3)[^/]*\.so$", name)] == []
    assert [name for name in compiled if "x86_64" in name] == []
    assert package.unzipped_bytes < functions.MAX_UNZIPPED_BYTES / 2


def test_an_archive_above_the_limit_of_lambda_is_an_error(
    package: FunctionPackage, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions, "MAX_UNZIPPED_BYTES", 2**20)
    with pytest.raises(ConfigError, match=r"has \d+ MiB unzipped, and Lambda's limit is 1 MiB"):
        build_functions(PROJECT, cache, local_runtime())


def test_a_missing_game_server_and_an_unreachable_index_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFoundError):
        build_functions(tmp_path, tmp_path / "cache", local_runtime())
    (tmp_path / "gameserver").mkdir()
    line = f"six==1.17.0 --hash=sha256:{'0' * 64}\n"
    (tmp_path / "gameserver" / "requirements.txt").write_text(line)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(UnreachableError, match="pip could not install"):
        build_functions(tmp_path, tmp_path / "cache", local_runtime())
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["lock"]


def test_a_dependency_with_another_hash_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gameserver").mkdir()
    line = f"six==1.17.0 --hash=sha256:{'0' * 64}\n"
    (tmp_path / "gameserver" / "requirements.txt").write_text(line)
    with pytest.raises(UnreachableError, match="DO NOT MATCH THE HASHES"):
        build_functions(tmp_path, tmp_path / "cache", local_runtime())


def _terraform_default(variable: str) -> str:
    text = (PROJECT / "terraform" / "modules" / "functions" / "variables.tf").read_text(encoding="utf-8")
    match = re.search(rf'variable "{variable}" \{{.*?default\s+= "([^"]+)"', text, re.DOTALL)
    assert match is not None
    return match.group(1)


@pytest.fixture(autouse=True)
def _no_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_TARGET", "PIP_PREFIX"):
        monkeypatch.delenv(name, raising=False)
