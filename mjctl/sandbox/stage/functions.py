"""Makes ministack run Lambda functions as AWS does: with credentials of their roles and within limits of concurrency.

ministack runs a function as a child process. The child process inherits the environment of ministack, and gets
ministack's address as `AWS_ENDPOINT_URL` and an access key that anyone can compute. The module `functions` removes
these three differences from AWS. The processes share the unpacked code (mjctl.sandbox.stage.function_code).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from mjctl.sandbox.correction import wrap
from mjctl.sandbox.stage import leftovers
from mjctl.sandbox.stage.context import StageContext
from mjctl.sandbox.stage.function_code import CodeFolders, SharingZipFiles
from mjctl.sandbox.stage.roles import LAMBDA, RoleCredentials, assume_for_service

Handler = Callable[..., Any]

# AWS renews the credentials of a function's process. On the stage, a process keeps its first credentials, so they are
# valid for a year.
_SESSION_SECONDS = 365 * 86_400.0
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
_ACCOUNT_CONCURRENCY = 1000
_LEAST_UNRESERVED = 100
# Environment variables that a function inherits from ministack's process.
_INHERITED = frozenset({"LANG", "LC_ALL", "PATH", "TMPDIR", "TZ"})


class Functions:
    """Corrects the environment, the credentials and the concurrency of Lambda functions."""

    def __init__(self, context: StageContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._sessions: dict[tuple[str, str], RoleCredentials] = {}

    def install(self) -> None:
        """Replace ministack's functions for credentials, processes and concurrency by corrected functions."""
        from ministack.core import lambda_runtime
        from ministack.services import lambda_svc

        wrap(lambda_runtime, "execution_credentials", self._credentials)
        wrap(lambda_svc, "execution_credentials", self._credentials)
        wrap(lambda_runtime, "subprocess", self._clean_subprocess)
        wrap(lambda_runtime, "zipfile", self._sharing_zip_files)
        wrap(lambda_svc, "_put_function_concurrency", self._leaves_unreserved)
        # Set AWS's limit, because ministack's own limit depends on the memory of this machine.
        lambda_svc._ACCOUNT_CONCURRENCY_CAP = _ACCOUNT_CONCURRENCY

    def look(self) -> None:
        """Do nothing, because ministack starts and ends the processes of the functions."""

    def close(self) -> None:
        """Do nothing, because ministack ends the processes of the functions when it ends."""

    def _credentials(self, _original: Handler) -> Handler:
        def credentials(config: Mapping[str, Any]) -> dict[str, str]:
            function, role = str(config.get("FunctionArn", "")), str(config.get("Role", ""))
            name = str(config.get("FunctionName", ""))
            with self._lock:
                session = self._sessions.get((function, role))
                if session is None:
                    session = assume_for_service(role, LAMBDA, name, source_arn=function, seconds=_SESSION_SECONDS)
                    self._sessions[function, role] = session
            return {
                "AWS_ACCESS_KEY_ID": session.access_key_id,
                "AWS_SECRET_ACCESS_KEY": session.secret_access_key,
                "AWS_SESSION_TOKEN": session.session_token,
            }

        return credentials

    def _clean_subprocess(self, original: Any) -> Any:
        return CleanSubprocess(original, self._environment)

    def _sharing_zip_files(self, original: Any) -> Any:
        return SharingZipFiles(original, CodeFolders(self._context.folder / "functions"))

    def _environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a function's process, without the variables and the address of ministack.

        https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
        """
        kept = {k: v for k, v in given.items() if k in _INHERITED or os.environ.get(k) != v}
        if kept.get("AWS_ENDPOINT_URL") == self._context.gateway:
            del kept["AWS_ENDPOINT_URL"]
        runtime = {"AWS_EXECUTION_ENV": "AWS_Lambda_python", "TZ": ":UTC"}
        mark = {leftovers.VARIABLE: leftovers.mark(self._context.folder)}
        return {**runtime, **kept, **mark, **self._context.authority.variables}

    @staticmethod
    def _leaves_unreserved(original: Handler) -> Handler:
        """Refuse a reservation that leaves less than 100 concurrent executions for functions without a reservation."""
        from ministack.core.responses import error_response_json
        from ministack.services import lambda_svc

        def handle(name: str, data: dict[str, Any]) -> Any:
            wanted = int(data.get("ReservedConcurrentExecutions", 0))
            functions = list(lambda_svc._functions.items())
            others = sum(int(function.get("concurrency") or 0) for other, function in functions if other != name)
            if _ACCOUNT_CONCURRENCY - others - wanted < _LEAST_UNRESERVED:
                message = (
                    "Specified ReservedConcurrentExecutions for function decreases account's "
                    f"UnreservedConcurrentExecution below its minimum value of [{_LEAST_UNRESERVED}]."
                )
                return error_response_json("InvalidParameterValueException", message, 400)
            return original(name, data)

        return handle


class CleanSubprocess:
    """Replaces the module `subprocess` in ministack's code for functions, to change the environment of processes."""

    def __init__(self, module: ModuleType, environment: Callable[[Mapping[str, str]], dict[str, str]]) -> None:
        self._module = module
        self._environment = environment

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def Popen(self, *arguments: Any, env: Mapping[str, str], **options: Any) -> Any:
        """Start a process with the environment that the callback `environment` returns."""
        return self._module.Popen(*arguments, env=self._environment(env), **options)
