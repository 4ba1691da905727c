"""Plays a scenario: makes the scenario's calls to an AWS endpoint, and collects the answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jmespath
from botocore.exceptions import BotoCoreError, ClientError

from tools.recorded_answers.scenario import Call, Scenario, UnknownVariableError, resolve

# Function that returns a boto3 client for the name of a service and a region.
ClientOf = Callable[[str, str], Any]

_UNTIL_SECONDS = 20.0
_POLL_SECONDS = 0.5


class Moment(str):
    """Stands for a time in an answer. Recordings have the word `datetime` instead of a time."""

    __slots__ = ()


@dataclass(frozen=True)
class Answer:
    """Describes the answer to a call whose answer on AWS is in the recordings.

    Attributes:
        call: The call.
        content: The part of the response that the recording contains. The response of an error is the parsed error.
        error: The text of the error, or an empty string if the call succeeded.
        reason: The reason why there is no answer, or an empty string.
    """

    call: Call
    content: Any = None
    error: str = ""
    reason: str = ""


def play(scenario: Scenario, client_of: ClientOf) -> list[Answer]:
    """Return an answer for each call of the scenario whose answer on AWS is in the recordings.

    If an earlier call failed, the value of a variable may be missing. A call that needs the value then gets an answer
    with only a reason.
    """
    variables = dict(scenario.variables)
    answers = []
    for call in scenario.calls:
        answer = _answer(call, variables, client_of)
        if call.record:
            answers.append(answer)
    return answers


def _answer(call: Call, variables: dict[str, Any], client_of: ClientOf) -> Answer:
    try:
        parameters = resolve(call.parameters, variables)
        path = str(resolve(call.path, variables))
    except UnknownVariableError as error:
        return Answer(call, reason=f"an earlier call gave no `{error}`")
    time.sleep(call.after_seconds)
    try:
        response = _response(call, parameters, client_of)
    except ClientError as error:
        return Answer(call, plain(error.response), error=str(error))
    except BotoCoreError as error:
        return Answer(call, reason=f"{type(error).__name__}: {error}")
    for name, place in call.save.items():
        value = jmespath.search(place, response)
        if value is not None:
            variables[name] = value
    content = plain(response)
    return Answer(call, jmespath.search(path, content) if path else content)


def _response(call: Call, parameters: Mapping[str, Any], client_of: ClientOf) -> Any:
    operation = getattr(client_of(call.service, call.region), call.operation)
    deadline = time.monotonic() + _UNTIL_SECONDS
    while True:
        response = operation(**parameters)
        if call.until is None or jmespath.search(call.until["path"], response) == call.until["is"]:
            return response
        if time.monotonic() > deadline:
            return response
        time.sleep(_POLL_SECONDS)


def plain(value: Any) -> Any:
    """Return a response of boto3 in the form of a recording: JSON without the headers and ids of the transport."""
    if isinstance(value, Mapping):
        return {key: _metadata(item) if key == "ResponseMetadata" else plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return Moment(value.isoformat())
    if isinstance(value, bytes):
        return repr(value)
    if hasattr(value, "read"):
        return value.read().decode("utf-8", "replace")
    return value


def _metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {"HTTPHeaders": {}, "HTTPStatusCode": metadata.get("HTTPStatusCode")}
