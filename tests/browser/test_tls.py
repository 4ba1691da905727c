"""Tests of the page over https and the game over wss, in a browser that accepts the region's certificate only."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .conftest import FLAGS, PASSWORD, REGION

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PROJECT = Path(__file__).parents[2]
ENVIRONMENT = "secure"
CONFIG = """
project: arena
target: local
regions:
  us-east-1:
    zones: [us-east-1a, us-east-1b, us-east-1c]
local: {tls: true}
"""


@dataclass(frozen=True)
class Site:
    """Describes the web client of a region with TLS. `pin` is the SHA-256 of the public key of the region's
    certificate, in base64."""

    web: str
    pin: str


@pytest.fixture(scope="module")
def site(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("secure")
    project, home = folder / "project", folder / "home"
    (project / "configs").mkdir(parents=True)
    for part in ("terraform", "gameserver", "mjctl", "web"):
        (project / part).symlink_to(PROJECT / part)
    (project / "configs" / f"{ENVIRONMENT}.yaml").write_text(CONFIG)

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "mjctl", *arguments, "--env", ENVIRONMENT, "--region", REGION],
            env={**os.environ, "MJCTL_HOME": str(home), "MJCTL_PROJECT_DIR": str(project)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        assert "before a browser opens" in run("deploy", "--auto-approve")
        contract = json.loads(run("outputs", "--output", "json"))["regions"][0]["outputs"]
        certificate = x509.load_pem_x509_certificate(Path(contract["ca_file"]).with_name("server.pem").read_bytes())
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        yield Site(contract["endpoints"]["web"], base64.b64encode(hashlib.sha256(key).digest()).decode())
    finally:
        run("destroy", "--auto-approve")


def browser(playwright: Any, chromium: str, profile: Path, pin: str) -> Any:
    """Start a browser that accepts an unverifiable certificate only if the SHA-256 of the certificate's public key is
    `pin`."""
    flags = (*FLAGS, f"--ignore-certificate-errors-spki-list={pin}")
    return playwright.chromium.launch_persistent_context(
        str(profile), executable_path=chromium, headless=True, args=flags, viewport={"width": 1280, "height": 800}
    )


def test_a_match_in_a_browser_is_encrypted_throughout(
    playwright: Any, chromium: str, site: Site, tmp_path: Path
) -> None:
    assert site.web.startswith("https://")
    context = browser(playwright, chromium, tmp_path / "profile", site.pin)
    try:
        page = context.pages[0]
        requests: list[str] = []
        problems: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("websocket", lambda opened: requests.append(opened.url))
        page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
        page.goto(site.web)
        assert page.evaluate("isSecureContext") is True
        page.get_by_role("button", name="Create account").first.click()
        page.get_by_label("Player name").fill("Ada")
        page.get_by_label("E-mail").fill(f"ada-{uuid.uuid4().hex[:10]}@example.com")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.locator("#account-form [type=submit]").click()
        page.get_by_role("heading", name="Hello, Ada").wait_for()
        page.get_by_role("button", name="Start a new match").click()
        page.locator("#scores li").filter(has=page.get_by_text("Ada", exact=True)).wait_for()
        schemes = {url.split("://")[0] for url in requests}
        assert schemes == {"https", "wss"}
        assert problems == []
    finally:
        context.close()


def test_a_browser_that_does_not_know_the_certificate_opens_nothing(
    playwright: Any, chromium: str, site: Site, tmp_path: Path
) -> None:
    another = base64.b64encode(hashlib.sha256(b"another key").digest()).decode()
    context = browser(playwright, chromium, tmp_path / "profile", another)
    try:
        with pytest.raises(Exception, match="ERR_CERT_AUTHORITY_INVALID"):
            context.pages[0].goto(site.web)
    finally:
        context.close()
