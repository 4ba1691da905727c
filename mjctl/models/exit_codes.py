"""The exit codes of mjctl, which docs/cli.md shows and tests/unit/mjctl/models/test_errors.py checks."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Lists the exit codes. A published code never changes its meaning.

    Attributes:
        meaning: The meaning of the code, which the documentation shows.
    """

    OK = 0, "done; for plan and drift: nothing to change"
    INTERNAL = 1, "a fault in mjctl itself; the error names the file with the traceback"
    CHANGES_PENDING = 2, "plan or drift found changes"
    UNHEALTHY = 3, "a health check failed, or a region could not be observed"
    PARTIAL = 4, "some regions are done, others failed"
    FAILED = 5, "Terraform failed in every selected region"
    LOCKED = 6, "another run holds the lock of the state"
    CONFIG = 7, "the environment's configuration is invalid"
    DEPENDENCY = 8, "a required program or package is missing"
    UNREACHABLE = 9, "a service did not answer, or answered with an error"
    PERMISSION = 10, "the credentials cannot be used, or the file system or AWS refused access"
    CONFLICT = 11, "the actual state contradicts the request: stale plan, port in use"
    REFUSED = 12, "nothing was done, because the change was not confirmed or is not allowed"
    NOT_FOUND = 13, "the named environment, region, backup or other object does not exist"
    VERIFICATION = 14, "the work was done, but a check of its result failed"
    USAGE = 64, "the command line is invalid"
    INTERRUPTED = 130, "stopped by Ctrl-C or SIGTERM, cleanly"

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member
