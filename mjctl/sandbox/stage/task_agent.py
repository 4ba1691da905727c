"""Serves the endpoints of the ECS agent to tasks: metadata, credentials of the task's role, and the task's protection.

On Fargate the agent answers at 169.254.170.2, an address of the task's own network. Tasks of the stage share this
machine's network, so the agent answers at a loopback address of the stage. The agent gives each task URLs with random
secrets, and refuses requests without a known secret.

- https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html
- https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
- https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html
"""

from __future__ import annotations

import hmac
import json
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mjctl.sandbox.stage import roles, task_protection

PORT = 80

_PATH = re.compile(r"/(?P<kind>v4|v2/credentials|api)/(?P<token>[A-Za-z0-9_-]+)(?P<rest>/[a-z0-9/-]*)?")
_PROTECTION = "/task-protection/v1/state"
_LARGEST_BODY = 4096
_TOKEN_BYTES = 32
# ECS gives new credentials to a task before the old credentials expire.
_RENEW_SECONDS = 900.0

logger = logging.getLogger("mjctl.sandbox.stage.task_agent")


@dataclass
class AgentAccess:
    """Holds the secrets that one container sends to the agent.

    Attributes:
        task_arn: The task of the container.
        role_arn: The ARN of the task's role, or an empty string.
        container: The token of the container in ministack's metadata. The token is also the secret in the agent's URLs.
        credentials_path: The secret in the URL of the credentials.
        authorization: The secret in the header `Authorization` of requests for the credentials.
    """

    task_arn: str
    role_arn: str
    container: str
    credentials_path: str = field(default_factory=lambda: secrets.token_urlsafe(_TOKEN_BYTES))
    authorization: str = field(default_factory=lambda: secrets.token_urlsafe(_TOKEN_BYTES))


class TaskAgent:
    """Answers the requests of the tasks' processes.

    Attributes:
        url: The address of the agent.
    """

    def __init__(self, address: str, blocks_deployment: Callable[[dict[str, Any]], bool]) -> None:
        """Create the agent without starting it.

        Args:
            address: The loopback address at which the agent listens, on port 80 as on Fargate.
            blocks_deployment: Returns whether ECS refuses to protect a task because the task blocks a deployment.
        """
        self.url = f"http://{address}"
        self._address = address
        self._blocks_deployment = blocks_deployment
        self._accesses: dict[str, AgentAccess] = {}
        self._sessions: dict[str, roles.RoleCredentials] = {}
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Listen, and answer in threads.

        Raises:
            OSError: another process uses the address.
        """
        handler = type("TaskRequestHandler", (_TaskRequestHandler,), {"agent": self})
        self._server = ThreadingHTTPServer((self._address, PORT), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True, name="stage-task-agent").start()

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def admit(self, access: AgentAccess) -> dict[str, str]:
        """Admit a container. Returns: the environment variables with which the container's process finds the agent."""
        self._accesses[access.container] = access
        variables = {
            "ECS_AGENT_URI": f"{self.url}/api/{access.container}",
            "ECS_CONTAINER_METADATA_URI_V4": f"{self.url}/v4/{access.container}",
        }
        if access.role_arn:
            # Fargate sets AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, which SDKs combine with 169.254.170.2. SDKs accept
            # every loopback address in AWS_CONTAINER_CREDENTIALS_FULL_URI, and send the token in the header
            # Authorization.
            variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{self.url}/v2/credentials/{access.credentials_path}"
            variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = access.authorization
        return variables

    def dismiss_stopped(self) -> None:
        """Refuse further requests of tasks that have stopped."""
        from ministack.services import ecs

        for token, access in list(self._accesses.items()):
            _, _, _, region, account, _ = access.task_arn.split(":", 5)
            task = ecs._tasks.get_scoped(account, region, access.task_arn)
            if task is None or task["lastStatus"] == "STOPPED":
                self._accesses.pop(token, None)
                self._sessions.pop(access.task_arn, None)

    def credentials(self, task_arn: str, role_arn: str) -> roles.RoleCredentials:
        """Return credentials of the task's role that are valid for at least 15 minutes.

        Raises:
            RoleRefusedError: the role does not trust ECS.
        """
        with self._lock:
            session = self._sessions.get(task_arn)
            if session is None or session.expires - time.time() < _RENEW_SECONDS:
                session = roles.assume_for_service(
                    role_arn, roles.ECS_TASKS, task_arn.rsplit("/", 1)[-1], source_arn=task_arn
                )
                self._sessions[task_arn] = session
        return session

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Any]:
        """Return the status and the JSON document for a request.

        Args:
            method: The HTTP method.
            path: The path of the URL.
            headers: The headers by lower-case name.
            body: The body of the request.
        """
        # A web page in a browser on this machine can send requests to a loopback address, also by DNS rebinding. The
        # request of a web page contains the header Origin, or a header Host with a different name.
        if headers.get("host") not in (self._address, f"{self._address}:{PORT}") or "origin" in headers:
            return 403, {"message": "the request is not of a task"}
        parts = _PATH.fullmatch(path)
        access = self._access(parts["kind"], parts["token"]) if parts else None
        if parts is None or access is None:
            return 403, {"message": "the request is not of a task"}
        rest = parts["rest"] or ""
        if parts["kind"] == "v2/credentials":
            return self._answer_credentials(method, access, headers)
        if parts["kind"] == "api" and rest == _PROTECTION and method in ("GET", "PUT"):
            return self._answer_protection(method, access, body)
        if parts["kind"] == "v4" and method == "GET":
            return _metadata(access, rest)
        return 404, {"message": "not found"}

    def _access(self, kind: str, token: str) -> AgentAccess | None:
        """Return the access of the container with a token. The comparison takes the same time for each wrong token."""
        matching = None
        for access in list(self._accesses.values()):
            known = access.credentials_path if kind == "v2/credentials" else access.container
            if hmac.compare_digest(known, token):
                matching = access
        return matching

    def _answer_credentials(self, method: str, access: AgentAccess, headers: Mapping[str, str]) -> tuple[int, Any]:
        if not hmac.compare_digest(headers.get("authorization", "").encode(), access.authorization.encode()):
            return 403, {"code": "AccessDenied", "message": "the authorization token is wrong"}
        if method != "GET":
            return 405, {"code": "MethodNotAllowed", "message": "use GET"}
        try:
            return 200, self.credentials(access.task_arn, access.role_arn).document
        except roles.RoleRefusedError as error:
            return 400, {"code": "AssumeRoleUnauthorizedAccess", "message": str(error)}

    def _answer_protection(self, method: str, access: AgentAccess, body: bytes) -> tuple[int, Any]:
        from ministack.core.responses import request_scope
        from ministack.services import ecs

        _, _, _, region, account, _ = access.task_arn.split(":", 5)
        action = "ecs:GetTaskProtection" if method == "GET" else "ecs:UpdateTaskProtection"
        # The agent calls ECS with the credentials of the task's role.
        if not access.role_arn:
            return 403, _error(access, "AccessDeniedException", "no task IAM role credentials available for task")
        try:
            refused = roles.denial(self.credentials(access.task_arn, access.role_arn), action, access.task_arn, region)
        except roles.RoleRefusedError as error:
            refused = str(error)
        if refused:
            return 400, _error(access, "AccessDeniedException", refused)
        with request_scope(account, region):
            task = ecs._tasks.get(access.task_arn)
            if task is None or task["lastStatus"] == "STOPPED":
                return 404, _error(access, "ResourceNotFoundException", "the task does not run")
            try:
                failure = self._change_protection(task, body) if method == "PUT" else None
            except (ValueError, task_protection.ProtectionError) as error:
                return 400, _error(access, "InvalidParameterException", str(error))
            if failure:
                return 200, {"failure": {"Arn": failure["arn"], "Detail": None, "Reason": failure["reason"]}}
            state = task_protection.described(task)
        protection = {"ProtectionEnabled": state["protectionEnabled"], "TaskArn": state["taskArn"]}
        if "expirationDate" in state:
            moment = time.gmtime(state["expirationDate"])
            protection["ExpirationDate"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)
        return 200, {"protection": protection}

    def _change_protection(self, task: dict[str, Any], body: bytes) -> dict[str, Any] | None:
        wish = json.loads(body or b"{}")
        if not isinstance(wish, dict) or not isinstance(wish.get("ProtectionEnabled"), bool):
            raise ValueError("Invalid request: does not contain 'ProtectionEnabled' field")
        minutes = wish.get("ExpiresInMinutes")
        if minutes is not None and not isinstance(minutes, int):
            raise ValueError("ExpiresInMinutes must be a whole number")
        return task_protection.change(
            task,
            is_enabled=wish["ProtectionEnabled"],
            minutes=minutes,
            blocks_deployment=self._blocks_deployment(task),
        )


class _TaskRequestHandler(BaseHTTPRequestHandler):
    agent: TaskAgent
    server_version = "TaskAgent"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def log_message(self, format: str, *_arguments: object) -> None:
        """Log nothing, because the paths are secrets."""

    def _answer(self) -> None:
        length = min(int(self.headers.get("Content-Length") or 0), _LARGEST_BODY)
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            status, document = self.agent.answer(self.command, self.path, headers, body)
        except Exception:
            logger.exception("a request of a task failed")
            status, document = 500, {"message": "the agent failed"}
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _metadata(access: AgentAccess, rest: str) -> tuple[int, Any]:
    from ministack.services import ecs_metadata

    with ecs_metadata._LOCK:
        container = ecs_metadata._TOKEN_TO_CONTAINER.get(access.container)
        task = ecs_metadata._TASKS.get(access.task_arn)
        if container is None or task is None:
            return 404, {"message": "the task does not run"}
        if rest in ("", "/"):
            return 200, dict(container)
        if rest in ("/task", "/taskWithTags"):
            return 200, {**task, "Containers": [dict(each) for each in task["Containers"]]}
    return (200, {}) if rest in ("/stats", "/task/stats") else (404, {"message": "not found"})


def _error(access: AgentAccess, code: str, message: str) -> dict[str, Any]:
    return {"error": {"Arn": access.task_arn, "Code": code, "Message": message}}
