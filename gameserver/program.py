"""Runs a program that an operator sends: the command `gameserver program` of the backup task.

`mjctl backup` sends its own code, so that the task and the operator's mjctl always have the same version. The
operator's call RunTask names the program's object in S3 and the SHA-256 of the program. The process runs no other
content, so a right to write to the bucket is no right to run code in the task.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sys
import tempfile
from pathlib import Path

import structlog

from gameserver.runtime import logs
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.settings import Settings, SettingsError

log = structlog.get_logger()

# The code of mjctl has less than 1 MB as a zip.
_MAX_BYTES = 32 * 1024 * 1024


def run(settings: Settings) -> int:
    """Download the program, check its SHA-256, and replace this process by Python with the program.

    The variables PROGRAM_BUCKET and PROGRAM_KEY name the object in S3, which is a zip with the file `__main__.py`.
    PROGRAM_SHA256 is the SHA-256 of the zip in hexadecimal digits.

    Returns:
        1 if the object cannot be read, or has another SHA-256. With the right object, the function does not return.

    Raises:
        SettingsError: a variable is missing.
    """
    logs.configure(settings, "program")
    bucket, key, wanted = (_variable(name) for name in ("PROGRAM_BUCKET", "PROGRAM_KEY", "PROGRAM_SHA256"))
    aws = AwsClients(settings.region, settings.aws_endpoint_url)
    try:
        program: bytes = aws.s3.get_object(Bucket=bucket, Key=key)["Body"].read(_MAX_BYTES)
    except Exception as error:
        # boto3 raises an error of another type for each cause.
        log.error("program_unreadable", bucket=bucket, key=key, cause=str(error))
        return 1
    finally:
        aws.close()
    digest = hashlib.sha256(program).hexdigest()
    if not hmac.compare_digest(digest, wanted):
        log.error("program_differs", bucket=bucket, key=key, sha256=digest, wanted=wanted)
        return 1
    path = Path(tempfile.mkdtemp(prefix="program-")) / "program.zip"
    path.write_bytes(program)
    log.info("program_starts", key=key, sha256=digest)
    # The folder of the game server stays on Python's path, because the program uses the game's migrations.
    return os.execv(sys.executable, [sys.executable, str(path)])  # noqa: S606  the program, of a known SHA-256


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise SettingsError(f"{name} is missing: `mjctl backup` sets it when it starts the task")
    return value
