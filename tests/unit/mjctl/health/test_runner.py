from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from mjctl.clients.boto import RegionClients, ThrottledError, unreachable
from mjctl.health import runner
from mjctl.health.model import Check, Finding, RegionContext, Thresholds, passed
from mjctl.health.registry import checks_for
from mjctl.health.runner import run_check, run_health, select
from mjctl.models.check import CheckStatus
from mjctl.models.contract import Contract
from mjctl.models.errors import NotFoundError

MakeContract = Callable[..., Contract]


@pytest.fixture
async def context(make_contract: MakeContract, tmp_path: Path) -> AsyncIterator[RegionContext]:
    contract = make_contract()
    async with aiohttp.ClientSession() as http:
        with RegionClients(contract, timeout_seconds=1, attempts=1) as clients:
            context = RegionContext(contract, clients, http, Thresholds(), tmp_path)
            yield context
            await context.close()


async def hang(_: RegionContext) -> Finding:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def fine(_: RegionContext) -> Finding:
    return passed("fine", value=1)


async def test_a_check_that_hangs_fails_at_its_time_limit(context: RegionContext) -> None:
    result = await run_check(Check("slow", hang, timeout_seconds=0.01), context)
    assert result.status is CheckStatus.FAIL
    assert "0.01 s" in result.summary
    assert result.hint


async def test_a_finding_keeps_the_hint_of_an_error(context: RegionContext) -> None:
    async def check(_: RegionContext) -> Finding:
        raise NotFoundError("no such table", hint="look there")

    result = await run_check(Check("table", check), context)
    assert (result.status, result.summary, result.hint) == (CheckStatus.FAIL, "no such table", "look there")


async def test_a_finding_names_the_address_of_a_service_that_does_not_answer(context: RegionContext) -> None:
    async def check(context: RegionContext) -> Finding:
        raise unreachable(context.contract, "Redis", "redis://127.0.0.1:1", OSError("refused"))

    result = await run_check(Check("redis", check), context)
    assert result.summary == "Redis does not answer: refused (redis://127.0.0.1:1)"
    assert "mjctl deploy --env test --region us-east-1" in (result.hint or "")
    assert "mjctl health" not in (result.hint or "")


async def test_a_bug_in_a_check_becomes_a_finding(context: RegionContext) -> None:
    async def check(_: RegionContext) -> Finding:
        raise ZeroDivisionError("oops")

    result = await run_check(Check("odd", check), context)
    assert result.status is CheckStatus.FAIL
    assert result.evidence == {"error": "ZeroDivisionError"}


async def test_a_check_that_hangs_does_not_delay_other_checks(
    make_contract: MakeContract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = [Check("hung", hang, timeout_seconds=1), Check("a", fine), Check("b", fine)]
    monkeypatch.setattr(runner, "checks_for", lambda _contract: checks)
    reported: list[str] = []
    contracts = {name: make_contract(name) for name in ("us-east-1", "eu-west-1")}
    report = await run_health(
        "test", contracts, dict.fromkeys(contracts, tmp_path), on_result=lambda result: reported.append(result.name)
    )
    assert reported[-2:] == ["hung", "hung"]
    assert sorted(reported[:-2]) == ["a", "a", "b", "b"]
    assert [item.name for item in report.results] == ["hung", "a", "b"] * 2
    assert report.status is CheckStatus.FAIL
    assert report.count(CheckStatus.PASS, "eu-west-1") == 2


async def test_a_shared_value_is_computed_once_and_survives_a_timeout(context: RegionContext) -> None:
    calls = 0
    release = asyncio.Event()

    async def make() -> int:
        nonlocal calls
        calls += 1
        await release.wait()
        return calls

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await context.shared("key", make)
    release.set()
    assert await context.shared("key", make) == 1


def test_every_part_of_a_contract_has_a_check(make_contract: MakeContract) -> None:
    contract = make_contract(
        fleet={
            "kind": "supervisor",
            "supervisor_socket": "/nowhere/supervisor.sock",
            "run_dir": "/nowhere",
            "processes": [
                {"name": "worker", "role": "worker", "health": "http://127.0.0.1:1/healthz"},
                {"name": "game-a-1", "role": "game-server", "zone": "a", "health": "http://127.0.0.1:1/healthz"},
            ],
            "servers": [
                {"id": "game-a-1", "zone": "a", "play_url": "ws://127.0.0.1:1", "ops_url": "http://127.0.0.1:1"}
            ],
        }
    )
    assert [check.name for check in checks_for(contract)] == [
        "supervisor",
        "process/worker",
        "process/game-a-1",
        "server/game-a-1",
        "api",
        "worker",
        "redis",
        "cache",
        "database",
        "table/matches",
        "queue/persistence",
        "dead-letters/persistence",
        "topic/events",
        "identity",
        "key/data",
        "login",
        "match",
    ]


def test_select_takes_globs_over_names_and_kinds() -> None:
    checks = [Check(name, fine) for name in ("redis", "table/matches", "table/players", "match")]
    assert [check.name for check in select(checks, ["table/*"])] == ["table/matches", "table/players"]
    assert [check.name for check in select(checks, ["table"])] == ["table/matches", "table/players"]
    assert [check.name for check in select(checks, ["m*", "redis"])] == ["redis", "match"]
    assert select(checks, []) == checks


async def test_an_unknown_check_is_refused_and_the_error_lists_the_checks(
    make_contract: MakeContract, tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError) as refused:
        await run_health("test", {"us-east-1": make_contract()}, {"us-east-1": tmp_path}, only=["nosuch"])
    assert "dead-letters/persistence" in (refused.value.hint or "")


async def test_every_check_fails_in_a_region_that_does_not_answer(make_contract: MakeContract, tmp_path: Path) -> None:
    (tmp_path / "database.json").touch(mode=0o600)
    (tmp_path / "database.json").write_text('{"password": "x"}')
    report = await run_health("test", {"us-east-1": make_contract()}, {"us-east-1": tmp_path / "private"})
    assert {item.status for item in report.results} == {CheckStatus.FAIL}
    assert all(item.hint for item in report.results)
    assert not [item for item in report.results if "check itself failed" in item.summary]


async def test_a_dependency_that_hangs_in_one_of_ten_regions_does_not_delay_other_checks(
    make_contract: MakeContract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server `dependency` accepts connections and never answers. Each region has 20 checks, and only 16 checks run
    # at a time.
    accepted: list[asyncio.StreamWriter] = []
    dependency = await asyncio.start_server(lambda _, writer: accepted.append(writer), "127.0.0.1", 0)
    port = dependency.sockets[0].getsockname()[1]

    async def query(context: RegionContext) -> Finding:
        if context.contract.region != "region-3":
            return passed("answers")
        async with context.http.get(f"http://127.0.0.1:{port}/") as answer:
            return passed(str(answer.status))

    checks = [Check("hangs", query, timeout_seconds=2), *(Check(f"part/{number}", fine) for number in range(19))]
    monkeypatch.setattr(runner, "checks_for", lambda _contract: checks)
    reported: list[tuple[str, str]] = []
    contracts = {f"region-{number}": make_contract(f"region-{number}") for number in range(10)}
    async with dependency:
        report = await run_health(
            "test",
            contracts,
            dict.fromkeys(contracts, tmp_path),
            on_result=lambda result: reported.append((result.region, result.name)),
        )
        for writer in accepted:
            writer.close()
    assert accepted
    assert len(reported) == 200
    assert reported[-1] == ("region-3", "hangs")
    failing = [(item.region, item.summary) for item in report.results if item.status is CheckStatus.FAIL]
    assert failing == [("region-3", "no answer within 2 s")]


async def test_a_region_that_hangs_does_not_delay_the_checks_of_other_regions(
    make_contract: MakeContract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def query(context: RegionContext) -> Finding:
        return await (hang if context.contract.region == "lost" else fine)(context)

    checks = [Check(f"part/{number}", query, timeout_seconds=1) for number in range(40)]
    monkeypatch.setattr(runner, "checks_for", lambda _contract: checks)
    reported: list[str] = []
    contracts = {name: make_contract(name) for name in ("lost", "well")}
    await run_health(
        "test", contracts, dict.fromkeys(contracts, tmp_path), on_result=lambda result: reported.append(result.region)
    )
    assert reported == ["well"] * 40 + ["lost"] * 40


async def test_a_throttled_check_says_that_the_part_was_not_checked(context: RegionContext) -> None:
    async def check(_: RegionContext) -> Finding:
        raise ThrottledError("AWS throttles the call", hint="wait")

    result = await run_check(Check("queue", check), context)
    assert (result.status, result.summary) == (CheckStatus.WARN, "not checked: AWS throttles the call")


async def test_a_throttled_check_warns_and_was_not_observed(context: RegionContext) -> None:
    async def throttled(_: RegionContext) -> Finding:
        raise ThrottledError("AWS throttles the call")

    result = await run_check(Check("queue", throttled), context)
    assert (result.status, result.throttled, result.observed) == (CheckStatus.WARN, True, False)
    assert (await run_check(Check("queue", fine), context)).observed
