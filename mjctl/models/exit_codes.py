"""The one table of exit codes; docs/cli.md shows it and tests/unit/mjctl/models hold it."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells the shell. A value, once published, never changes its meaning."""

    OK = 0, "done; for plan and drift: nothing to change"
    INTERNAL = 1, "a fault in mjctl itself; the log file has the traceback"
    CHANGES_PENDING = 2, "plan or drift found changes"
    UNHEALTHY = 3, "health found a failing check"
    PARTIAL = 4, "some regions are done, others failed"
    FAILED = 5, "Terraform failed in every region asked for"
    LOCKED = 6, "another run holds the lock of the state"
    CONFIG = 7, "the environment's configuration is invalid"
    DEPENDENCY = 8, "a program or package that is needed is missing"
    UNREACHABLE = 9, "a service did not answer"
    PERMISSION = 10, "the file system or the cloud refused access"
    CONFLICT = 11, "the world is not as the plan assumes: stale plan, port in use"
    REFUSED = 12, "not done, because it was not confirmed"
    NOT_FOUND = 13, "what was named does not exist"
    VERIFICATION = 14, "the work was done, but a look at the result found it wrong"
    USAGE = 64, "the command line is wrong"
    INTERRUPTED = 130, "stopped by Ctrl-C or SIGTERM, cleanly"

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member
