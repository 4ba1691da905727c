"""Errors for people: what happened, where, and what to do next.

MjctlError
├── UsageError            64
├── ConfigError            7
├── DependencyError        8
├── LockedError            6
├── TerraformError         5
├── UnreachableError       9
├── PermissionDeniedError 10
├── ConflictError         11
├── RefusedError          12
├── NotFoundError         13
├── VerificationError     14
├── InternalError         1
└── Interrupted          130
"""

from __future__ import annotations

from collections.abc import Mapping

from mjctl.models.exit_codes import ExitCode


class MjctlError(Exception):
    """An error whose text a person can act on.

    `what` is one sentence; `where` names environment, region, file or resource; `hint` is the next step.
    None of the three may hold a secret.
    """

    exit_code = ExitCode.INTERNAL

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
        # The error of each region, by its name, when a command failed in all of them.
        self.regions: Mapping[str, MjctlError] = {}

    def __str__(self) -> str:
        return f"{self.what} ({self.where})" if self.where else self.what


class UsageError(MjctlError):
    exit_code = ExitCode.USAGE


class ConfigError(MjctlError):
    exit_code = ExitCode.CONFIG


class DependencyError(MjctlError):
    exit_code = ExitCode.DEPENDENCY


class LockedError(MjctlError):
    exit_code = ExitCode.LOCKED


class TerraformError(MjctlError):
    exit_code = ExitCode.FAILED


class UnreachableError(MjctlError):
    exit_code = ExitCode.UNREACHABLE


class PermissionDeniedError(MjctlError):
    exit_code = ExitCode.PERMISSION


class ConflictError(MjctlError):
    exit_code = ExitCode.CONFLICT


class RefusedError(MjctlError):
    exit_code = ExitCode.REFUSED


class NotFoundError(MjctlError):
    exit_code = ExitCode.NOT_FOUND


class VerificationError(MjctlError):
    exit_code = ExitCode.VERIFICATION


class InternalError(MjctlError):
    """A fault in mjctl itself that concerned one region only: the others went on."""

    exit_code = ExitCode.INTERNAL


class Interrupted(MjctlError):
    exit_code = ExitCode.INTERRUPTED
