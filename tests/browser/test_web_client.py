"""Tests of the web client as people use it: with real browsers, a deployed region and the real protocol."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from gameserver.rules.arena import SPEED_PER_SECOND
from tests.browser.pages import DESKTOP, PHONE, Eventually, fits

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

GEMS = ("#7ee0d0", "#ffd479")
AGREE = 12
"""Largest difference between two screens after all players have stopped, in field units. The field has 1000."""


def meet(first: Any, second: Any) -> None:
    """Bring two players from the lobby into one match."""
    first.play("Start a new match")
    second.play("Quick match")
    match = "game => game.dataset.match"
    assert first.page.locator("#game").evaluate(match) == second.page.locator("#game").evaluate(match)


def collect_one(player: Any, name: str, eventually: Eventually) -> int:
    """Hold the mouse at the nearest pick-up, so that the player runs there, until the score rises. Returns the
    score."""
    page, before = player.page, player.scores()[name]
    box = page.locator("#arena").bounding_box()

    def run_there() -> int:
        x, y = player.place_of(name)
        gems = [gem for colour in GEMS for gem in player.see(colour)]
        gem_x, gem_y = min(gems, key=lambda gem: (gem[0] - x) ** 2 + (gem[1] - y) ** 2)
        unit = box["width"] / 1060
        page.mouse.move(box["x"] + (gem_x + 30) * unit, box["y"] + (gem_y + 30) * unit)
        page.mouse.down()
        page.wait_for_timeout(150)
        return int(player.scores()[name] - before)

    try:
        return before + int(eventually(run_there, "a point"))
    finally:
        page.mouse.up()


def test_two_browsers_play_in_one_match(new_player: Any, eventually: Eventually, artefacts: Path) -> None:
    ada, grace = new_player("Ada", **DESKTOP), new_player("Grace", **PHONE)
    meet(ada, grace)
    eventually(lambda: set(ada.scores()) == {"Ada", "Grace"} == set(grace.scores()), "both on both scoreboards")

    # Ada runs to the upper left corner and then to the right, by keyboard. Grace sees Ada's moves on her screen.
    ada.page.keyboard.down("ArrowLeft")
    ada.page.keyboard.down("KeyW")
    eventually(lambda: max(grace.place_of("Ada")) < 60, "Ada in the corner, on Grace's screen")
    ada.page.keyboard.up("ArrowLeft")
    ada.page.keyboard.up("KeyW")
    ada.page.keyboard.down("KeyD")
    eventually(lambda: grace.place_of("Ada")[0] > 250, "Ada on her way right, on Grace's screen")
    ada.page.keyboard.up("KeyD")

    # Grace runs down and to the left, by touch. Ada sees Grace's moves on her screen.
    grace.touch("start", (200, 700))
    grace.touch("move", (160, 740))
    assert grace.page.locator("#stick div").is_visible()
    eventually(lambda: ada.place_of("Grace")[1] > 900 and ada.place_of("Grace")[0] < 100, "Grace below left")
    grace.page.screenshot(path=artefacts / "web-phone.png")
    grace.touch("end")
    assert grace.page.locator("#stick div").is_hidden()

    for name in ("Ada", "Grace"):
        eventually(lambda name=name: apart(ada, grace, name) < AGREE, f"{name} in one place on both screens")
    score = collect_one(ada, "Ada", eventually)
    assert score > 0
    eventually(lambda: grace.scores().get("Ada", 0) >= score, "the score on the other's board")
    eventually(lambda: ada.text("#latency").endswith(" ms"), "a latency")
    assert ada.text("#clock").startswith("2:")
    ada.page.screenshot(path=artefacts / "web-desktop.png")

    grace.leave()
    eventually(lambda: set(ada.scores()) == {"Ada"}, "Grace is gone")


def test_a_lone_player_waits_and_invites_another(new_player: Any, eventually: Eventually, artefacts: Path) -> None:
    ada = new_player("Ada", **DESKTOP)
    ada.play("Start a new match")
    ada.page.get_by_role("heading", name="Waiting for players").wait_for()
    link = ada.page.get_by_label("Invite link").input_value()
    ada.page.screenshot(path=artefacts / "web-waiting.png")
    match = ada.page.locator("#game").evaluate("game => game.dataset.match")
    assert link.endswith(f"#match={match}")

    # The friend who opens the invitation link has no account yet. The page keeps the invitation link during the
    # sign-up.
    grace = new_player("Grace", at=link, **PHONE)
    grace.page.locator("#game").wait_for()
    assert grace.page.locator("#game").evaluate("game => game.dataset.match") == match
    assert "#" not in grace.page.url
    eventually(lambda: set(ada.scores()) == {"Ada", "Grace"} == set(grace.scores()), "both on both scoreboards")
    for player in (ada, grace):
        assert player.page.locator("#waiting").is_hidden()
    grace.leave()
    ada.page.get_by_role("heading", name="Waiting for players").wait_for()
    ada.leave()

    # The match is over, because the last player has left. A player in the lobby who opens the invitation link must see
    # that the match is over.
    ada.page.evaluate("link => { location.href = link; }", link)
    eventually(lambda: ada.text("#lobby-error") != "", "what has become of the match")
    assert ada.text("#lobby-error") in {"The match is over.", "There is no match with this id."}
    assert ada.page.locator("#lobby").is_visible()


def test_players_chat(new_player: Any, eventually: Eventually, artefacts: Path) -> None:
    ada, grace = new_player("Ada", **DESKTOP), new_player("Grace", **PHONE)
    meet(ada, grace)
    eventually(lambda: set(ada.scores()) == {"Ada", "Grace"}, "both in the match")
    where = ada.place_of("Ada")
    ada.page.keyboard.press("Enter")
    ada.page.keyboard.type("was d <b>meet</b>")
    ada.page.keyboard.press("Enter")
    for player in (ada, grace):
        eventually(lambda player=player: "was d <b>meet</b>" in player.text("#chat-lines"), "the line on both screens")
    assert grace.page.locator("#chat-lines b").count() == 0
    assert max(abs(a - b) for a, b in zip(where, ada.place_of("Ada"), strict=True)) < AGREE

    grace.page.locator("#chat-text").fill("on my way")
    grace.page.locator("#chat-text").press("Enter")
    eventually(lambda: "on my way" in ada.text("#chat-lines"), "the answer")
    ada.page.screenshot(path=artefacts / "web-chat.png")
    grace.page.screenshot(path=artefacts / "web-chat-phone.png")

    for _ in range(6):
        ada.page.keyboard.press("Enter")
        ada.page.keyboard.type("again")
        ada.page.keyboard.press("Enter")
    eventually(lambda: "too many messages" in ada.text("#chat-error"), "the limit, in words")
    ada.page.keyboard.press("Enter")
    ada.page.keyboard.press("Escape")
    assert ada.page.get_by_role("dialog", name="Leave the match?").is_hidden()


def apart(player: Any, other: Any, name: str) -> float:
    (x, y), (other_x, other_y) = player.place_of(name), other.place_of(name)
    return float(max(abs(x - other_x), abs(y - other_y)))


_NOTICE_AN_INTERRUPTION = """() => {
  const notice = document.getElementById("interruption");
  const look = () => { if (!notice.hidden) globalThis.wasInterrupted = true; };
  new MutationObserver(look).observe(notice, { attributes: true });
}"""


def test_both_players_continue_after_their_server_is_killed(
    new_player: Any, region: Any, eventually: Eventually, artefacts: Path
) -> None:
    ada, grace = new_player("Ada", **DESKTOP), new_player("Grace", **DESKTOP)
    meet(ada, grace)
    score = collect_one(ada, "Ada", eventually)
    eventually(lambda: grace.scores().get("Ada", 0) >= score, "the score on both boards")
    owner = ada.text("#server")
    assert grace.text("#server") == owner

    for player in (ada, grace):
        player.page.evaluate(_NOTICE_AN_INTERRUPTION)

    region.kill(owner)

    # Another server takes the match over, or the killed server continues if it restarts before its lease expires.
    for player in (ada, grace):
        player.page.wait_for_function("() => globalThis.wasInterrupted")
    ada.page.screenshot(path=artefacts / "web-reconnecting.png")
    for player in (ada, grace):
        player.page.locator("#interruption").wait_for(state="hidden")
        assert player.scores()["Ada"] >= score
    ada.page.keyboard.down("ArrowLeft")
    eventually(lambda: grace.place_of("Ada")[0] < 30, "Ada runs on, on Grace's screen")
    ada.page.keyboard.up("ArrowLeft")
    assert collect_one(grace, "Grace", eventually) > 0


def test_a_match_is_played_to_its_end_and_a_second_match_follows(
    new_player: Any, eventually: Eventually, artefacts: Path
) -> None:
    ada, grace = new_player("Ada", **DESKTOP), new_player("Grace", **PHONE)
    ada.play("Start a new match", mode="sprint")
    first = ada.page.locator("#game").get_attribute("data-match")
    grace.play("Quick match", mode="sprint")
    score = collect_one(ada, "Ada", eventually)

    ada.page.locator("#result").wait_for()
    ranking = ada.page.locator("#ranking li")
    assert "Ada" in ranking.nth(0).inner_text()
    assert int(ranking.nth(0).locator(".points").inner_text()) >= score
    assert ada.page.get_by_role("heading", name="You win!").is_visible()
    ada.page.screenshot(path=artefacts / "web-result.png")
    grace.page.get_by_role("heading", name="2nd of 2").wait_for()

    ada.page.get_by_role("button", name="Play again").click()
    ada.page.locator("#game").wait_for()
    assert ada.page.locator("#game").get_attribute("data-match") != first
    grace.page.get_by_role("button", name="Back to the lobby").click()
    # The result of the match reaches the player's profile through the queue, some seconds after the match.
    eventually(lambda: _lobby_figure(grace, "Matches") == "1", "the match in the record", seconds=30)
    grace.page.screenshot(path=artefacts / "web-lobby-phone.png", full_page=True)


def _lobby_figure(player: Any, name: str) -> str:
    player.page.reload()
    player.page.get_by_role("heading", name="Hello, ").wait_for()
    return str(player.text(f"#record-{name.lower()}"))


def test_a_reloaded_page_returns_to_its_seat(new_player: Any, eventually: Eventually) -> None:
    ada = new_player("Ada", **DESKTOP)
    ada.play("Start a new match")
    score = collect_one(ada, "Ada", eventually)
    match = ada.page.locator("#game").get_attribute("data-match")

    ada.page.reload()

    ada.page.locator("#game").wait_for()
    assert ada.page.locator("#game").get_attribute("data-match") == match
    eventually(lambda: ada.scores().get("Ada", 0) >= score, "the score is kept")


def test_a_second_window_takes_the_seat_over(new_player: Any, region: Any) -> None:
    ada = new_player("Ada", **DESKTOP)
    ada.play("Start a new match")
    stored = ada.page.evaluate("() => JSON.stringify(sessionStorage)")
    second = ada.page.context.new_page()
    second.goto(region.web)
    second.evaluate(
        "kept => Object.entries(JSON.parse(kept)).forEach(([k, v]) => sessionStorage.setItem(k, v))", stored
    )
    second.reload()
    second.locator("#game").wait_for()
    ada.page.get_by_text("in another window").wait_for()


def test_the_page_fits_a_phone(new_player: Any, new_page: Any) -> None:
    assert fits(new_page(**PHONE), "#account")
    grace = new_player("Grace", **PHONE)
    assert fits(grace.page, "#lobby")
    grace.play("Start a new match")
    assert fits(grace.page, "#game")
    grace.page.set_viewport_size({"width": 839, "height": 412})
    assert fits(grace.page, "#game")
    box = grace.page.locator("#arena").bounding_box()
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= 412


def test_every_control_has_a_name_for_screen_readers(new_player: Any) -> None:
    ada = new_player("Ada", **DESKTOP, reduced_motion="reduce")
    unlabelled = "() => [...document.querySelectorAll('input')].filter((one) => !one.labels.length).length"
    assert ada.page.evaluate(unlabelled) == 0
    assert ada.page.evaluate("() => document.activeElement.id") == "lobby-title"
    ada.play("Start a new match")
    assert ada.page.get_by_role("img", name="The arena").is_visible()
    assert ada.page.get_by_role("timer", name="Time left").is_visible()
    ada.page.keyboard.press("Escape")
    assert ada.page.get_by_role("dialog", name="Leave the match?").is_visible()
    ada.page.get_by_role("button", name="Stay").click()
    assert ada.page.locator("#game").is_visible()


def test_motion_between_ticks_is_smooth(new_page: Any) -> None:
    """Check the shown positions if tick 20 arrives 100 ms after tick 18.

    Other players are shown two ticks late. A player who is in no frame has stood still.
    """
    seen = new_page().evaluate("""async () => {
      const { World, SPEED_PER_SECOND } = await import("/world.js");
      const world = new World();
      const players = [{ slot: 0, player_id: "a", name: "A", connected: true }];
      const match = { slot: 9, tick_rate_hz: 20, duration_ticks: 200, players };
      const state = { field: 1000, players: { 0: [100, 500, 0] }, pick_ups: [[7, 10, 10, 5]] };
      world.welcome({ match, tick: 10, state }, 500);
      const frame = (tick, x, taken, scores) => ({ tick, changes: [[0, x, 500], taken, [], scores], events: [] });
      world.frame(frame(19, 113, [], []), 950);
      world.frame(frame(20, 126, [7], [0, 5]), 1000);
      const places = [900, 1025, 1075, 1100].map((now) => {
        world.advance(now);
        return Math.round(10 * world.runners.get(0).shown.x) / 10;
      });
      const left = world.secondsLeft(1000);
      return { speed: SPEED_PER_SECOND, places, score: world.standing()[0].score, left, effects: world.effects.length };
    }""")
    assert seen["speed"] == SPEED_PER_SECOND
    assert seen["places"] == [100, 106.5, 119.5, 126]
    assert (seen["score"], seen["left"], seen["effects"]) == (5, 9, 1)


def test_the_page_reports_a_region_without_a_mode_that_it_can_play(new_page: Any) -> None:
    page = new_page(**DESKTOP)
    page.route("**/config.json", lambda route: route.fulfill(json={"api": "", "modes": []}))
    page.reload()
    page.get_by_role("button", name="Create account").first.click()
    page.get_by_label("Player name").fill("Ada")
    page.get_by_label("E-mail").fill(f"ada-{uuid.uuid4().hex[:10]}@example.com")
    page.get_by_label("Password", exact=True).fill("correct Horse 7 battery")
    page.locator("#account-form [type=submit]").click()
    page.get_by_role("heading", name="Hello, Ada").wait_for()
    assert page.locator("#modes-empty").is_visible()
    assert page.get_by_role("button", name="Quick match").is_disabled()
    assert page.get_by_role("button", name="Start a new match").is_disabled()
