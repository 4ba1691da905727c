"""The ops function as a real Lambda of the emulated AWS: its process runs this checkout's handler."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3

from gameserver.runtime.settings import Settings

_HANDLER = """
import sys
sys.path[:0] = {path!r}
from gameserver.functions.lambda_handlers import ops as handler
"""
VARIABLES = ("STATE_URL", "CACHE_URL", "ENVIRONMENT", "PROJECT", "REGION")


@contextmanager
def ops_lambda(
    settings: Settings, *, client: Any = None, code: str | None = None, timeout_seconds: int = 60, **overrides: str
) -> Iterator[str]:
    """Create the function with only the variables that the stack gives it, and delete it at the end.

    Args:
        settings: Source of the function's environment variables.
        client: A Lambda client of an emulated AWS. By default, the client uses the emulated AWS of the session.
        code: Source of a handler that replaces `gameserver.functions.lambda_handlers.ops`.
        timeout_seconds: Time after which the emulator ends the function.
        overrides: Environment variables of the function that replace variables of VARIABLES.

    Yields:
        The function's ARN.
    """
    client = client or boto3.client("lambda", endpoint_url=settings.aws_endpoint_url, region_name=settings.region)
    name = f"{settings.environment}-ops"
    path = [str(Path(__file__).parents[3]), *(entry for entry in sys.path if entry.endswith("site-packages"))]
    variables = {name: str(getattr(settings, name.lower())) for name in VARIABLES} | overrides
    arn: str = client.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role="arn:aws:iam::000000000000:role/ops",
        Handler="ops.handler",
        Code={"ZipFile": packed({"ops.py": code or _HANDLER.format(path=path)})},
        Timeout=timeout_seconds,
        Environment={"Variables": {f"GAMESERVER_{name}": value for name, value in variables.items()}},
    )["FunctionArn"]
    try:
        yield arn
    finally:
        client.delete_function(FunctionName=name)
        client.close()


def packed(files: Mapping[str, str]) -> bytes:
    """Return a ZIP archive of the files.

    Args:
        files: path in the archive -> text.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()
