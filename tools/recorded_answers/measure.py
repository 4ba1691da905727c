"""Makes the calls of the scenarios to the emulators, and compares the answers with the recordings."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mjctl.sandbox.emulators import ACCOUNT_ID, Emulators
from tools.recorded_answers import model_wrapper, scenario
from tools.recorded_answers.comparison import Bindings, Difference, compare
from tools.recorded_answers.known_differences import KnownDifference
from tools.recorded_answers.playing import Answer, ClientOf, play
from tools.recorded_answers.recordings import RecordingError, Recordings
from tools.recorded_answers.report import Compared, Report
from tools.recorded_answers.scenario import Scenario

_REPEATED = ("message", "Message")

# Some recordings contain only the text of an error. This text contains the error's code.
_TEXT_OF_ERROR = re.compile(r"An error occurred \(([\w.]+)\)")


def measure(
    recordings: Recordings,
    scenarios: Sequence[Scenario],
    known: Mapping[tuple[str, str], KnownDifference],
    *,
    stage: bool = False,
) -> Report:
    """Return the report of a run of `scenarios` against new emulators.

    The emulators check each request and each answer against botocore's service models.

    Args:
        recordings: The recorded answers of AWS.
        scenarios: The scenarios with the calls.
        known: The known differences.
        stage: True to run real processes behind the resources of ministack.

    Raises:
        RecordingError: The recordings do not contain an answer that a scenario names.
    """
    begin = time.monotonic()
    report = Report(recordings.commit, recordings.license, known=known, stage=stage)
    with tempfile.TemporaryDirectory() as folder:
        with Emulators(Path(folder), stage=stage, wrapper=model_wrapper.__name__) as emulators:

            @cache
            def client_of(service: str, region: str) -> Any:
                # Some scenarios send wrong parameters on purpose, so boto3 must not check the parameters.
                return emulators.client(service, region, parameter_validation=False, retries={"max_attempts": 0})

            for played in scenarios:
                report.compared += compare_scenario(recordings, played, client_of)
        services = {answer.service for answer in report.compared}
        report.checked, violations = model_wrapper.violations(Path(folder))
        report.violations = {place: texts for place, texts in violations.items() if place.split(".")[0] in services}
    report.oldest = min((recordings.validated(played.file, played.test) for played in scenarios), default="")[:10]
    report.seconds = time.monotonic() - begin
    return report


def compare_scenario(recordings: Recordings, played: Scenario, client_of: ClientOf) -> list[Compared]:
    """Make the calls of a scenario, and return the comparisons of their answers with the recordings.

    Raises:
        RecordingError: A call names an answer that the recordings do not contain.
    """
    recorded = recordings.answers(played.file, played.test)
    bindings = Bindings(ACCOUNT_ID)
    compared = []
    for answer in play(played, client_of):
        name = answer.call.record
        if name not in recorded:
            raise RecordingError(f"{played.file}::{played.test} has no recorded answer {name!r}")
        operation = f"{answer.call.service}.{answer.call.operation}"
        differences = differences_of(recorded[name], answer, bindings)
        compared.append(Compared(played.service, played.test, name, operation, tuple(differences)))
    return compared


def differences_of(recorded: Any, answer: Answer, bindings: Bindings) -> list[Difference]:
    """Return the differences between an answer and its recording. The recording may be the text of an error."""
    if answer.reason:
        return [Difference("unreached", "$", answer.reason)]
    text_code = _TEXT_OF_ERROR.match(recorded) if isinstance(recorded, str) else None
    is_error = text_code or (isinstance(recorded, dict) and "Error" in recorded and "ResponseMetadata" in recorded)
    if answer.error and not is_error:
        return [Difference("refused", "$", answer.error[:200])]
    if is_error and not answer.error:
        return [Difference("accepted", "$")]
    if text_code:
        same_code = answer.content["Error"]["Code"] == text_code[1]
        differences = compare(recorded, answer.error, bindings)
        return [Difference("message" if same_code else "value", "$", difference.detail) for difference in differences]
    content = answer.content
    if is_error:
        # botocore returns the text of some errors twice, under different keys.
        recorded = {key: value for key, value in recorded.items() if key not in _REPEATED}
        content = {key: value for key, value in content.items() if key not in _REPEATED}
    return compare(recorded, content, bindings, unordered=answer.call.unordered)


def scenarios_of(service: str | None) -> list[Scenario]:
    """Return the scenarios of a service, or all scenarios."""
    return scenario.load(service=service, account=ACCOUNT_ID)
