"""Configures every test run: signals, the guard that ends services, the distribution over workers, reruns."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.guard import Guard

# A shell starts background jobs with SIGINT ignored, and child processes inherit the ignored signal. The test process
# restores SIGINT's usual effect, because tests send SIGINT to child processes.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

RERUNS = 2
# Files of tests/integration/stack whose tests deploy separate regions. The tests of all other files in
# tests/integration/stack share one region.
_DEPLOY_THEIR_OWN_REGIONS = (
    "test_failover.py",
    "test_rollout.py",
    "test_shells.py",
    "test_tls.py",
    "test_unfinished.py",
)
# Files of tests/terraform whose tests use the plans of production, which take two minutes.
_SHARE_PLANS = ("test_data_plane.py", "test_handlers.py", "test_well_architected.py")
_ALLOWED = "reruns_allowed"
_guard = pytest.StashKey[Guard]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rerun-list",
        metavar="FILE",
        help=f"Run a failed test once more, at most {RERUNS} tests in all runs that share FILE, which lists them.",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.stash[_guard] = Guard()
    allowed = getattr(config, "workerinput", {}).get(_ALLOWED)
    if allowed is None and config.option.rerun_list:
        reruns = _RerunList(Path(config.option.rerun_list).absolute())
        config.pluginmanager.register(reruns)
        allowed = max(0, RERUNS - len(reruns.read()))
    if allowed is not None:
        config.option.reruns, config.option.max_suite_reruns = 1, allowed


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_guard].close()


def pytest_sessionstart(session: pytest.Session) -> None:
    # pytest has no public name for the temporary folder outside of fixtures.
    session.config.stash[_guard].cover(session.config._tmp_path_factory.getbasetemp())  # type: ignore[attr-defined]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests: long files first and short files last, so that the workers end at about the same time."""
    items.sort(key=lambda item: _rank(item.nodeid))


def _rank(nodeid: str) -> int:
    """Return the rank of a test: 0 shared region, 1 separate regions, 2 Terraform, 3 other services, 4 no services.

    The tests of the deployed production stacks take longest, so they have the rank 0 too.
    """
    if _file(nodeid) == "test_sandbox_apply.py":
        return 0
    if "/stack/" in nodeid:
        return 1 if _file(nodeid) in _DEPLOY_THEIR_OWN_REGIONS else 0
    return next(
        (rank for part, rank in (("terraform/", 2), ("integration/", 3)) if nodeid.startswith(f"tests/{part}")), 4
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.option.dist != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByRegion(LoadFileScheduling):
        """Gives a worker whole files.

        One worker gets all tests that share the session's deployed region, and one worker gets all tests that share the
        plans of production.
        """

        def _split_scope(self, nodeid: str) -> str:
            if "/integration/stack/" in nodeid and _file(nodeid) not in _DEPLOY_THEIR_OWN_REGIONS:
                return "stack"
            return "plans" if _file(nodeid) in _SHARE_PLANS else str(super()._split_scope(nodeid))

    config.option.loadscopereorder = False
    return ByRegion(config, log)


def _file(nodeid: str) -> str:
    return nodeid.split("::", 1)[0].rsplit("/", 1)[-1]


class _RerunList:
    """Records each test that is run once more, and prints the list and the first failures of this run at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._first_failures: list[pytest.TestReport] = []
        path.touch()

    def read(self) -> set[str]:
        return set(self._path.read_text().splitlines())

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        # A worker of pytest-xdist receives the command line, not the options that the main process has computed from
        # the command line.
        node.workerinput[_ALLOWED] = node.config.option.max_suite_reruns

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome != "rerun":
            return
        self._first_failures.append(report)
        if report.nodeid not in self.read():
            with self._path.open("a") as listed:
                listed.write(f"{report.nodeid}\n")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        reruns = sorted(self.read())
        terminalreporter.section(f"tests that were run once more so far: {len(reruns)} of {RERUNS} allowed")
        for nodeid in reruns:
            terminalreporter.line(nodeid)
        # pytest prints only the last failure of a test, whose cause can be what the first failure left behind.
        for report in self._first_failures:
            terminalreporter.section(f"first failure of {report.nodeid}, {report.when}", "-")
            terminalreporter.write(f"{report.longreprtext}\n")
