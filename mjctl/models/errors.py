"""The errors that mjctl reports. Each error says what happened, where, and what to do next, and has an exit code.

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
    """Reports a failure to an operator. No attribute may contain a secret.

    Attributes:
        what: A sentence that says what happened.
        where: The environment, region, file or resource; None if `what` names it.
        hint: The operator's next step, or None.
        exit_code: The code with which a command ends after this error.
    """

    exit_code = ExitCode.INTERNAL

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
        # The error of each region, by the region's name, if a command failed in all regions.
        self.regions: Mapping[str, MjctlError] = {}

    def __str__(self) -> str:
        return f"{self.what} ({self.where})" if self.where else self.what


class UsageError(MjctlError):
    """Reports a command line or an argument that is wrong."""

    exit_code = ExitCode.USAGE


class ConfigError(MjctlError):
    """Reports an environment's file, or another input of the operator, that is invalid."""

    exit_code = ExitCode.CONFIG


class DependencyError(MjctlError):
    """Reports a program or a Python package that is missing or unusable."""

    exit_code = ExitCode.DEPENDENCY


class LockedError(MjctlError):
    """Reports that another command holds the lock of a unit."""

    exit_code = ExitCode.LOCKED


class TerraformError(MjctlError):
    """Reports that Terraform failed."""

    exit_code = ExitCode.FAILED


class UnreachableError(MjctlError):
    """Reports a service that did not answer, or that answered with an error."""

    exit_code = ExitCode.UNREACHABLE


class PermissionDeniedError(MjctlError):
    """Reports that the file system or AWS refused access."""

    exit_code = ExitCode.PERMISSION


class ConflictError(MjctlError):
    """Reports that the actual state contradicts the request, e.g. a stale plan or a port in use."""

    exit_code = ExitCode.CONFLICT


class RefusedError(MjctlError):
    """Reports that mjctl did not do the work, because the operator did not confirm it or because it is not allowed."""

    exit_code = ExitCode.REFUSED


class NotFoundError(MjctlError):
    """Reports that a named environment, region, backup or other object does not exist."""

    exit_code = ExitCode.NOT_FOUND


class VerificationError(MjctlError):
    """Reports that the work was done and that a check of its result failed."""

    exit_code = ExitCode.VERIFICATION


class InternalError(MjctlError):
    """Reports a fault in mjctl that stopped the work on one region only."""

    exit_code = ExitCode.INTERNAL


class Interrupted(MjctlError):
    """Reports that Ctrl-C or SIGTERM stopped the command."""

    exit_code = ExitCode.INTERRUPTED
