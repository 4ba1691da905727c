"""Compares the emulated AWS with the recorded answers of AWS. The docstring of the package shows the usage.

The exit code is 1 if a difference is not in known_differences.yaml, or if a listed difference no longer exists.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tools.recorded_answers import known_differences
from tools.recorded_answers.measure import measure, scenarios_of
from tools.recorded_answers.recordings import RecordingError, Recordings


def main(arguments: list[str]) -> int:
    """Run the comparison, print its report, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.recorded_answers")
    parser.add_argument("folder", type=Path, help="a checkout or a git directory of LocalStack's repository")
    parser.add_argument("--service", help="only compare the answers of this service, by its boto3 name")
    parser.add_argument("--stage", action="store_true", help="compare the answers of the stage")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    chosen = parser.parse_args(arguments)
    scenarios = scenarios_of(chosen.service)
    if not scenarios:
        parser.error(f"no scenarios of the service {chosen.service}")
    try:
        report = measure(Recordings(chosen.folder), scenarios, known_differences.load(), stage=chosen.stage)
    except RecordingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if chosen.output == "json":
        print(json.dumps(report.document(), indent=2))
    else:
        print("\n".join(report.lines()))
    return int(report.failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
