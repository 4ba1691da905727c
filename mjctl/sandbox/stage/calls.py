"""Records how IAM decides on the AWS calls of roles, of users and of AWS services, for `mjctl sandbox calls`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from mjctl.sandbox.call_log import CallLog, RecordedCall, folded
from mjctl.sandbox.correction import wrap
from mjctl.sandbox.policies import Caller, CallerKind
from mjctl.sandbox.stage.context import StageContext
from mjctl.sandbox.stage.layout import calls_file


class Calls:
    """Records an AWS call once for each caller, action, resource and decision.

    Calls of the account's root user, which deploys, and calls without a signature are not recorded.
    """

    def __init__(self, context: StageContext) -> None:
        self._log = CallLog(calls_file(context.folder))

    def install(self) -> None:
        """Record each later decision of ministack's IAM."""
        from ministack.core import iam_evaluator

        from mjctl.sandbox.stage.iam_records import caller_of
        from mjctl.sandbox.stage.permissions import observe

        observe(self._record)

        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def enforce(
                access_key: str,
                action: str,
                service: str,
                region: str,
                resource_arn: str = "*",
                service_context: Any = None,
            ) -> Any:
                denied = original(access_key, action, service, region, resource_arn, service_context)
                identity = iam_evaluator.resolve_caller_identity(access_key) or {}
                if arn := identity.get("userArn"):
                    reason = getattr(denied, "reason", "") or getattr(denied, "message", "")
                    self._record(caller_of(arn), action, resource_arn, denied is None, reason)
                return denied

            return enforce

        wrap(iam_evaluator, "enforce", make)

    def look(self) -> None:
        """Do nothing, because each decision is recorded at once."""

    def close(self) -> None:
        """Do nothing, because the file is complete after each decision."""

    def _record(self, caller: Caller, action: str, resource: str, allowed: bool, reason: str) -> None:
        if caller.kind is CallerKind.ROOT:
            return
        name = caller.role_arn or caller.arn
        self._log.add(RecordedCall(name, action, folded(resource), allowed, "" if allowed else reason, time.time()))
