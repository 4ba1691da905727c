"""Structured logs: a JSON object in each line on stderr, for the events of the game and of its libraries.

The logs contain ids of matches, players and requests, but no names, e-mail addresses or network addresses of players.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from gameserver.runtime.settings import Settings


def configure(settings: Settings, process: str, *, level: int = logging.INFO) -> None:
    """Send all log lines of this process to stderr. Each line has the process, region, zone and server id.

    Args:
        settings: provides region, zone and server id.
        process: name of the process, for example "game".
        level: lowest level that is logged, as in `logging`.
    """
    static = {
        "process": process,
        "region": settings.region,
        "zone": settings.zone,
        "server_id": settings.server_id,
    }
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _StaticFields({name: value for name, value in static.items() if value}),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer = structlog.processors.JSONRenderer(serializer=_to_json)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    # At the level INFO the libraries log every connection, so only the libraries' warnings and errors are logged.
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


class _StaticFields:
    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = dict(fields)

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        for name, value in self._fields.items():
            event.setdefault(name, value)
        return event


def _to_json(value: Any, **_: Any) -> str:
    return msgspec.json.encode(value, enc_hook=repr).decode()
