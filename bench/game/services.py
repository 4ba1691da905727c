"""Starts the services that this project's game server needs: Redis, emulated SNS and SQS, and an issuer of tokens."""

from __future__ import annotations

import http.server
import json
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from game import machine
from mjctl.local import data_plane
from mjctl.local.credentials import ensure_profile, redis_password
from mjctl.local.layout import Layout
from mjctl.local.programs import prepare
from mjctl.local.spec import Kind, ProcessSpec

REGION = "us-east-1"
CLIENT_ID = "bench"
_DEFINITION = Path(__file__).parents[2] / "terraform" / "modules" / "data_plane" / "data-plane.yaml"


class Issuer:
    """Signs access tokens like a user pool, and serves the public keys for their verification.

    The benchmark uses no real user pool, because the sign-up of thousands of players would take too long.

    Attributes:
        url: address of the issuer, which is the claim `iss` of the tokens.
    """

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        body = json.dumps({"keys": [{**public, "kid": "bench", "alg": "RS256", "use": "sig"}]}).encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/pool"

    def token(self) -> str:
        """Return an access token of a new player, with the claims of Cognito's tokens, valid for three hours."""
        now = int(time.time())
        player = str(uuid4())
        claims = {
            "sub": player,
            "iss": self.url,
            "client_id": CLIENT_ID,
            "token_use": "access",
            "scope": "aws.cognito.signin.user.admin",
            "origin_jti": str(uuid4()),
            "event_id": str(uuid4()),
            "jti": str(uuid4()),
            "auth_time": now,
            "iat": now,
            "exp": now + 3 * 3600,
            "username": player,
        }
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": "bench"})

    def close(self) -> None:
        """Stop serving the public keys."""
        self._server.shutdown()
        self._server.server_close()


class Services:
    """Runs Redis, an emulated SNS and SQS with the topic and queue of the data plane, and the issuer.

    Args:
        folder: folder for the services' files.
        core: number of the CPU core on which all services run.
        state_cluster: True to run Redis in cluster mode with one shard, as the state store on AWS.

    Attributes:
        state_cluster: True if Redis runs in cluster mode.
        issuer: the issuer that signs the players' access tokens.
        redis_url: address of Redis.
        aws_endpoint: address of the emulated AWS.
        aws_key: access key of the emulated AWS.
        topic_arn: ARN of the events topic.
    """

    def __init__(self, folder: Path, core: int, *, state_cluster: bool = False) -> None:
        self._core = core
        self.state_cluster = state_cluster
        self._layout = Layout(folder / "services")
        self._layout.create()
        self._stack = ExitStack()
        self.issuer = Issuer()
        self._stack.callback(self.issuer.close)

    def __enter__(self) -> Services:
        with ExitStack() as stack:
            stack.push(self._stack.__exit__)
            port = self._start("redis")
            self.redis_url = f"redis://:{redis_password(self._layout)}@127.0.0.1:{port}"
            if self.state_cluster:
                self._assign_slots()
            # Give the emulated AWS a low priority, so that it does not slow down the load generator, which runs on the
            # same core.
            self.aws_endpoint = f"http://127.0.0.1:{self._start('aws', nice=10)}"
            self.aws_key = ensure_profile(self._layout)
            spec = data_plane.DataPlaneSpec(_DEFINITION, "game-bench", self.aws_endpoint, REGION, self.aws_key)
            plane = data_plane.create(spec)
            self.topic_arn: str = plane["topics"]["events"]
            self._queue_url: str = plane["queues"]["persistence"]["url"]
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def reset(self) -> None:
        """Delete all keys in Redis, and all messages in the queue, which no process of the benchmark reads."""
        import boto3
        from redis import Redis

        with Redis.from_url(self.redis_url) as redis:
            redis.flushall()
        sqs = boto3.client(
            "sqs",
            region_name=REGION,
            endpoint_url=self.aws_endpoint,
            aws_access_key_id=self.aws_key.access_key_id,
            aws_secret_access_key=self.aws_key.secret_access_key,
        )
        sqs.purge_queue(QueueUrl=self._queue_url)

    def _assign_slots(self) -> None:
        from redis import Redis

        with Redis.from_url(self.redis_url, decode_responses=True) as redis:
            redis.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
            while "cluster_state:ok" not in str(redis.execute_command("CLUSTER", "INFO")):
                time.sleep(0.05)

    def redis_version(self) -> str:
        """Return the name and the version of the Redis server."""
        from redis import Redis

        with Redis.from_url(self.redis_url, decode_responses=True) as redis:
            info: Any = redis.info("server")
            return f"{info.get('server_name', 'redis')} {info.get('valkey_version', info['redis_version'])}"

    def _start(self, kind: Kind, nice: int = 0) -> int:
        port = machine.free_port()
        program = prepare(ProcessSpec(kind, kind, "bench", self._layout.region_dir, port, ready="", live=""))
        command = program.command
        if kind == "aws":
            # Run the emulated AWS without saving its state, because a save takes longer as the queue grows.
            command = (sys.executable, "-m", "hypercorn", "--bind", f"127.0.0.1:{port}", "ministack.app:app")
        if kind == "redis" and self.state_cluster:
            options = {
                "cluster-enabled": "yes",
                "cluster-announce-ip": "127.0.0.1",
                "cluster-port": str(machine.free_port()),
            }
            command = (*command, *(part for name, value in options.items() for part in (f"--{name}", value)))
        log = self._layout.log(kind)
        environment = {**program.environment, "PERSIST_STATE": "0"}
        process = machine.start(command, core=self._core, log=log, environment=environment, nice=nice)
        self._stack.callback(machine.stop, process)
        machine.await_port(port, process, log)
        return port
