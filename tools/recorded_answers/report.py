"""Reports the result of a comparison as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tools.recorded_answers import known_differences
from tools.recorded_answers.comparison import Difference
from tools.recorded_answers.known_differences import KnownDifference


@dataclass(frozen=True)
class Compared:
    """Describes an answer that was compared with its recording.

    Attributes:
        service: The boto3 name of the service.
        test: The test of LocalStack in which the answer was recorded.
        name: The name of the recorded answer in the test.
        operation: The operation, e.g. `kms.describe_key`.
        differences: The differences between the answer and the recording.
    """

    service: str
    test: str
    name: str
    operation: str
    differences: tuple[Difference, ...]

    @property
    def place(self) -> str:
        """Return the place of the answer in the list of known differences."""
        return f"{self.service} {self.test} {self.name}"


@dataclass
class Report:
    """Describes the results of a comparison.

    Attributes:
        commit: The commit of LocalStack's repository.
        license: The licence of the repository.
        compared: The compared answers.
        violations: The violations of botocore's service models, by operation.
        checked: The number of requests and answers that were checked against botocore's service models.
        known: The known differences.
        seconds: The duration of the run.
        oldest: The earliest of the days on which the tests last passed against AWS.
        stage: True for a run with the stage. The stage is stricter than the emulators, so listed differences may be
            absent.
    """

    commit: str
    license: str
    compared: list[Compared] = field(default_factory=list)
    violations: dict[str, list[str]] = field(default_factory=dict)
    checked: int = 0
    known: Mapping[tuple[str, str], KnownDifference] = field(default_factory=dict)
    seconds: float = 0.0
    oldest: str = ""
    stage: bool = False

    @property
    def differences(self) -> dict[str, list[str]]:
        """Return all differences and violations by their place."""
        return {
            **{answer.place: [str(d) for d in answer.differences] for answer in self.compared if answer.differences},
            **self.violations,
        }

    @property
    def unlisted(self) -> dict[str, list[str]]:
        """Return the differences that the list of known differences does not name."""
        return known_differences.unlisted(self.differences, self.known)

    @property
    def vanished(self) -> list[tuple[str, str]]:
        """Return the listed differences that no longer exist."""
        if self.stage:
            return []
        return known_differences.vanished(self.differences, self.known, {answer.service for answer in self.compared})

    @property
    def failed(self) -> bool:
        """Return True if a difference is not listed, or if a listed difference no longer exists."""
        return bool(self.unlisted or self.vanished)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return three counts for each service.

        `compared` counts all compared answers, and `same` counts the answers without differences. `same_but_message`
        counts the answers in which at most the text of an error differs.
        """
        counts: dict[str, dict[str, int]] = {}
        for answer in self.compared:
            count = counts.setdefault(answer.service, {"same": 0, "same_but_message": 0, "compared": 0})
            count["compared"] += 1
            count["same"] += not answer.differences
            count["same_but_message"] += all(d.kind == "message" for d in answer.differences)
        return counts

    def document(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {
            "commit": self.commit,
            "license": self.license,
            "oldest_validation": self.oldest,
            "seconds": round(self.seconds, 1),
            "services": self.counts(),
            "checked": self.checked,
            "differences": [
                {
                    "service": answer.service,
                    "test": answer.test,
                    "answer": answer.name,
                    "operation": answer.operation,
                    "kind": difference.kind,
                    "path": difference.path,
                    "detail": difference.detail,
                    "reason": self._reason(answer.place, str(difference)),
                }
                for answer in self.compared
                for difference in answer.differences
            ],
            "violations": [
                {"operation": operation, "violation": text, "reason": self._reason(operation, text)}
                for operation, texts in self.violations.items()
                for text in texts
            ],
            "unlisted": self.unlisted,
            "vanished": [f"{place}: {text}" for place, text in self.vanished],
        }

    def lines(self) -> Iterator[str]:
        """Yield the lines of the report as text."""
        yield f"LocalStack {self.commit or '(no commit)'}, {self.license}, oldest validation {self.oldest or 'unknown'}"
        yield ""
        for answer in self.compared:
            for difference in answer.differences:
                yield f"{answer.place} ({answer.operation}): {difference}"
                if difference.detail:
                    yield f"    {difference.detail}"
        for operation, texts in self.violations.items():
            yield from (f"{operation} violates botocore's model: {text}" for text in texts)
        yield ""
        yield from self._reasons()
        yield from self._summary()

    def _reasons(self) -> Iterator[str]:
        numbers: dict[str, int] = {}
        for place, texts in self.differences.items():
            for text in texts:
                reason = self._reason(place, text)
                if reason:
                    numbers[reason] = numbers.get(reason, 0) + 1
        if numbers:
            yield "Differences that are left, with their reasons:"
            for reason, number in numbers.items():
                yield f"{number:5} {' '.join(reason.split())}"
            yield ""

    def _summary(self) -> Iterator[str]:
        total = {"same": 0, "same_but_message": 0, "compared": 0}
        for service, count in self.counts().items():
            total = {key: total[key] + count[key] for key in total}
            yield self._row(service, count)
        yield self._row("all services", total)
        number = sum(len(texts) for texts in self.violations.values())
        yield f"Checked against botocore's models: {self.checked} requests and answers, {number} kinds of violations"
        if self.unlisted:
            yield "Not in the list of known differences:"
            for place, texts in self.unlisted.items():
                yield f"    {place!r}: {texts}"
        yield from (f"Listed, but vanished: {place}: {text}" for place, text in self.vanished)
        yield f"{self.seconds:.0f} s"

    @staticmethod
    def _row(name: str, count: Mapping[str, int]) -> str:
        same = f"{name}: same {count['same']} of {count['compared']}"
        return f"{same} ({count['same_but_message']} if the texts of errors may differ)"

    def _reason(self, place: str, text: str) -> str:
        known = self.known.get((place, text))
        return known.reason if known else ""
