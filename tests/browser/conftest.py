"""Fixtures for tests with real browsers and a deployed region. One region is deployed for the whole session.

Fixtures:
    region: A local region for these tests only.
    new_player: `new_player("Ada", **context_options)` starts a browser and signs a player up. After the sign-up, the
        page shows the lobby.
    artefacts: The folder for the screenshots of the tests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install 'playwright' for the browser tests")

PASSWORD = "correct Horse 7 battery"
REGION = "us-east-1"
# Options of Chromium: no background requests, and no sandbox, because Chromium's sandbox does not work for root.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# Returns the centres, in units of the field, of all shapes of one colour on the canvas of the page.
_BLOBS = """
([id, wanted]) => {
  const canvas = document.getElementById(id);
  const { width } = canvas;
  const pixels = canvas.getContext("2d").getImageData(0, 0, width, width).data;
  const unit = width / 1060;
  const blobs = [];
  for (let y = 0; y < width; y += 2) {
    for (let x = 0; x < width; x += 2) {
      const at = 4 * (y * width + x);
      if (wanted.some((part, index) => Math.abs(pixels[at + index] - part) > 3)) continue;
      let blob = blobs.find((one) => Math.hypot(one.x / one.n - x, one.y / one.n - y) < 30 * unit);
      if (blob === undefined) blobs.push((blob = { x: 0, y: 0, n: 0 }));
      blob.x += x; blob.y += y; blob.n += 1;
    }
  }
  return blobs.filter((one) => one.n >= 4).map((one) => [one.x / one.n / unit - 30, one.y / one.n / unit - 30]);
}
"""


@dataclass(frozen=True)
class Region:
    """Describes a deployed local region.

    Attributes:
        home: folder of mjctl's state about the region (MJCTL_HOME).
        web: address of the region's web client.
    """

    home: Path
    web: str

    def mjctl(self, *arguments: str) -> Any:
        return json.loads(_mjctl(self.home, *arguments, "--region", REGION, "--output", "json"))

    def kill(self, server: str) -> None:
        """Send SIGKILL to a game server."""
        servers = self.mjctl("servers", "list")["regions"][0]["servers"]
        os.kill(next(row["pid"] for row in servers if row["id"] == server), signal.SIGKILL)


@dataclass
class Player:
    """Acts as a person at a browser.

    Attributes:
        page: Playwright's page with the web client.
        email: e-mail address of the player's account.
        problems: errors of the page and messages of the browser's console so far.
    """

    page: Any
    email: str
    problems: list[str] = field(default_factory=list)

    def see(self, colour: str) -> list[tuple[float, float]]:
        """Return the positions in the field of all shapes of a colour (`#rrggbb`)."""
        wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        return [(x, y) for x, y in self.page.evaluate(_BLOBS, ["arena", wanted])]

    def place_of(self, name: str) -> tuple[float, float]:
        """Return the position in the field of the player with this name."""
        colour = self.row(name).evaluate("row => row.style.getPropertyValue('--player')")
        seen = eventually(lambda: self.see(colour), f"{name} on the arena")
        return seen[0]

    def row(self, name: str) -> Any:
        """Return the player's row of the scoreboard."""
        return self.page.locator("#scores li").filter(has=self.page.get_by_text(name, exact=True))

    def scores(self) -> dict[str, int]:
        """Return the scoreboard: name -> points. The rows are read in one step, because the page replaces the rows of
        the scoreboard."""
        read = "rows => rows.map(row => ['.name', '.points'].map(part => row.querySelector(part).textContent))"
        return {name: int(points) for name, points in self.page.locator("#scores li").evaluate_all(read)}

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).inner_text())

    def play(self, button: str = "Quick match", mode: str = "arena") -> None:
        """Enter a match from the lobby."""
        self.page.get_by_role("radio", name=re.compile(mode, re.I)).check(force=True)
        self.page.get_by_role("button", name=button).click()
        self.page.locator("#game").wait_for()

    def leave(self) -> None:
        """Leave the match and return to the lobby, so that the player's seat is free."""
        self.page.get_by_role("button", name="Leave").click()
        self.page.get_by_role("dialog").get_by_role("button", name="Leave").click()
        self.page.locator("#lobby").wait_for()

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        """Send a touch event of the kind `start`, `move` or `end`, at points in CSS pixels."""
        event = {"type": f"touch{kind.title()}", "touchPoints": [{"x": x, "y": y} for x, y in points]}
        self._devtools.send("Input.dispatchTouchEvent", event)

    def __post_init__(self) -> None:
        self._devtools = self.page.context.new_cdp_session(self.page)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda line: self.problems.append(line.text) if line.type == "error" else None)


NewPlayer = Callable[..., Player]


def eventually(look: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Call `look` until its result is true, and return the result."""
    end = time.monotonic() + seconds
    while not (result := look()):
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)
    return result


@pytest.fixture(scope="session", name="eventually")
def _eventually() -> Callable[..., Any]:
    return eventually


@pytest.fixture(scope="session")
def artefacts() -> Path:
    folder = Path(__file__).parents[2] / "artefacts"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.fail("no chromium on the PATH: apt-get install chromium")
    return path


@pytest.fixture(scope="session")
def region(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    home = tmp_path_factory.mktemp("home")
    try:
        _mjctl(home, "deploy", "--region", REGION, "--auto-approve")
        contract = json.loads(_mjctl(home, "outputs", "--region", REGION, "--output", "json"))["regions"][0]["outputs"]
        yield Region(home, contract["endpoints"]["web"])
    finally:
        _mjctl(home, "destroy", "--all-regions", "--auto-approve")


@pytest.fixture(scope="session")
def playwright() -> Iterator[Any]:
    with sync_api.sync_playwright() as running:
        yield running


@pytest.fixture
def new_page(playwright: Any, chromium: str, region: Region) -> Iterator[Callable[..., Any]]:
    """Return the factory `new_page(at=address, **context_options)`, which opens a page in a new browser process.

    Without `at`, the page opens the web client of the region.
    """
    browsers = []

    def make(at: str = "", **context_options: Any) -> Any:
        browser = playwright.chromium.launch(executable_path=chromium, headless=True, args=FLAGS)
        browsers.append(browser)
        page = browser.new_context(**context_options).new_page()
        page.goto(at or region.web)
        return page

    yield make
    for browser in browsers:
        browser.close()


@pytest.fixture
def new_player(new_page: Callable[..., Any]) -> Iterator[NewPlayer]:
    players = []

    def make(name: str, at: str = "", **context_options: Any) -> Player:
        """Sign a player up. `at` is an invitation link, with which the player enters the match and not the lobby."""
        page = new_page(at=at, **context_options)
        player = Player(page, f"{name.lower()}-{uuid.uuid4().hex[:10]}@example.com")
        players.append(player)
        page.get_by_role("button", name="Create account").first.click()
        page.get_by_label("Player name").fill(name)
        page.get_by_label("E-mail").fill(player.email)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.locator("#account-form [type=submit]").click()
        if not at:
            page.get_by_role("heading", name=f"Hello, {name}").wait_for()
        return player

    yield make
    for player in players:
        # Leave the match, so that it ends and a quick match of the next test does not join it.
        if player.page.locator("#game").is_visible():
            player.leave()
    # The browser logs broken connections on the console, and the tests break some connections on purpose.
    expected = ("WebSocket connection to", "Failed to load resource")
    problems = [problem for player in players for problem in player.problems if not problem.startswith(expected)]
    assert problems == []


def _mjctl(home: Path, *arguments: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MJCTL_")}
    done = subprocess.run(
        [sys.executable, "-m", "mjctl", *arguments],
        env={**kept, "MJCTL_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
