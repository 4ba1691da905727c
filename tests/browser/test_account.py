"""Tests the forms of the web client for accounts with a real browser and a deployed region."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

from gameserver.client.totp import totp
from mjctl.clients.boto import RegionClients
from mjctl.models.contract import Contract
from tests.browser.pages import DESKTOP, PHONE, Eventually, fits

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def test_an_error_of_the_log_in_is_shown_in_words(new_page: Any, eventually: Eventually) -> None:
    page = new_page(**DESKTOP)
    alert = page.locator("#account-error")
    page.locator("#account-form [type=submit]").click()
    assert alert.inner_text() == "Fill in: E-mail."
    assert page.get_by_label("E-mail").evaluate("field => field === document.activeElement")

    page.get_by_label("E-mail").fill("nobody@example.com")
    page.get_by_label("Password", exact=True).fill("wrong Horse 7 battery")
    page.keyboard.press("Enter")
    eventually(lambda: "the password is wrong" in alert.inner_text(), "the error")
    page.locator("#account-form:not([aria-busy])").wait_for()
    assert alert.get_attribute("role") == "alert"
    assert page.locator("#account-form [type=submit]").is_enabled()

    page.route("**/v1/login", lambda route: route.abort())
    page.keyboard.press("Enter")
    eventually(lambda: "cannot be reached" in alert.inner_text(), "the error without a network")
    page.locator("#account-form:not([aria-busy])").wait_for()

    page.get_by_role("button", name="Create account").first.click()
    page.get_by_label("Player name").fill("Ada")
    page.get_by_label("Password", exact=True).fill("short")
    page.keyboard.press("Enter")
    eventually(lambda: "assword" in alert.inner_text(), "the password policy")


def test_a_new_player_confirms_the_address_and_plays(new_page: Any, eventually: Eventually) -> None:
    """Test a region that confirms addresses by mail. The region of these tests confirms them without a mail."""
    page = new_page(**DESKTOP)
    sent: list[tuple[str, dict[str, str]]] = []

    def unconfirmed(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(status=answer.status, json={**answer.json(), "confirmed": False})

    def confirm(route: Any) -> None:
        sent.append(("confirm", route.request.post_data_json))
        if route.request.post_data_json["code"] == "123456":
            route.fulfill(status=200, json={"confirmed": True})
        else:
            route.fulfill(status=400, json={"error": {"code": "invalid_code", "message": "no"}})

    def resend(route: Any) -> None:
        sent.append(("resend", route.request.post_data_json))
        route.fulfill(status=202, json={})

    page.route("**/v1/signup", unconfirmed)
    page.route("**/v1/confirm", confirm)
    page.route("**/v1/confirm/resend", resend)
    email = f"ada-{uuid.uuid4().hex[:10]}@example.com"
    page.get_by_role("button", name="Create account").first.click()
    page.get_by_label("Player name").fill("Ada")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password", exact=True).fill("correct Horse 7 battery")
    page.locator("#account-form [type=submit]").click()
    code = page.get_by_label("Code", exact=True)
    code.wait_for()
    assert page.locator("#account-form").is_hidden()
    assert code.evaluate("field => field === document.activeElement")
    alert = page.locator("#confirmation-error")

    page.get_by_role("button", name="Confirm", exact=True).click()
    assert alert.inner_text() == "Fill in: Code."
    code.fill("000000")
    page.keyboard.press("Enter")
    eventually(lambda: "code is wrong" in alert.inner_text(), "the error")
    page.locator("#confirmation-form:not([aria-busy])").wait_for()
    page.get_by_role("button", name="Send a new code").click()
    eventually(lambda: "sent a new code" in page.locator("#confirmation-hint").inner_text(), "the hint")
    page.locator("#confirmation-form:not([aria-busy])").wait_for()
    code.fill("123456")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Hello, Ada").wait_for()
    assert [kind for kind, _ in sent] == ["confirm", "resend", "confirm"]
    assert {body["email"] for _, body in sent} == {email}


def test_a_player_who_comes_back_with_a_code_confirms_it_and_logs_in(new_page: Any) -> None:
    page = new_page(**DESKTOP)
    page.route("**/v1/confirm", lambda route: route.fulfill(status=200, json={"confirmed": True}))
    page.get_by_role("button", name="I have a confirmation code").click()
    address = page.get_by_label("Address of your account")
    assert address.evaluate("field => field === document.activeElement")
    address.fill("ada@example.com")
    page.get_by_label("Code", exact=True).fill("123456")
    page.keyboard.press("Enter")
    page.locator("#account-form").wait_for()
    assert page.get_by_label("E-mail").input_value() == "ada@example.com"
    assert page.get_by_label("Password", exact=True).evaluate("field => field === document.activeElement")
    page.get_by_role("button", name="Log in").first.click()
    assert page.locator("#confirmation-form").is_hidden()


def test_an_old_token_is_renewed(new_player: Any) -> None:
    ada = new_player("Ada", **DESKTOP)
    paths: list[str] = []
    ada.page.on("request", lambda request: paths.append(request.url.rpartition("/")[2]))
    refused: list[str] = []

    def refuse_once(route: Any) -> None:
        if refused:
            route.continue_()
            return
        refused.append(route.request.url)
        body = {"error": {"code": "unauthorized", "message": "the token has expired"}}
        route.fulfill(status=401, json=body)

    ada.page.route("**/v1/matches", refuse_once)
    ada.play("Start a new match")
    assert refused
    assert paths.index("matches") < paths.index("refresh") < len(paths) - paths[::-1].index("matches")


def test_an_ended_session_asks_to_log_in(new_player: Any) -> None:
    ada = new_player("Ada", **DESKTOP)
    refusal = {"error": {"code": "invalid_refresh_token", "message": "the refresh token is not valid"}}
    ada.page.route("**/v1/refresh", lambda route: route.fulfill(status=401, json=refusal))
    ada.page.route("**/v1/matches", lambda route: route.fulfill(status=401, json=refusal))
    ada.page.get_by_role("button", name="Quick match").click()
    ada.page.locator("#account").wait_for()
    assert ada.text("#account-error") == "Your session has ended. Log in again."


def test_a_second_factor_is_set_up_and_asked_for(new_player: Any, new_page: Any, eventually: Eventually) -> None:
    ada = new_player("Ada", **PHONE)
    page = ada.page
    eventually(lambda: "Protect your account" in ada.text("#factor-state"), "the state of the second factor")
    page.get_by_role("button", name="Set up an authenticator app").click()
    code = page.get_by_label("Code that the app shows")
    code.wait_for()
    assert fits(page, "#lobby")
    secret = ada.text("#enrolment-secret").replace(" ", "")
    assert f"secret={secret}" in page.locator("#enrolment-link").get_attribute("href")
    code.fill(f"{(int(totp(secret)) + 1) % 10**6:06}")
    page.keyboard.press("Enter")
    eventually(lambda: "code is wrong" in ada.text("#security-error"), "the error")
    page.locator("#security-title").locator("..").and_(page.locator(":not([aria-busy])")).wait_for()
    code.fill(totp(secret))
    page.keyboard.press("Enter")
    eventually(lambda: "need a code" in ada.text("#factor-state"), "the second factor is on")

    other = new_page(**DESKTOP)
    other.get_by_label("E-mail").fill(ada.email)
    other.get_by_label("Password", exact=True).fill("correct Horse 7 battery")
    other.keyboard.press("Enter")
    field = other.get_by_label("Code of the app")
    field.wait_for()
    assert field.evaluate("field => field === document.activeElement")
    field.fill("12345")
    other.keyboard.press("Enter")
    eventually(lambda: "code is wrong" in other.locator("#factor-error").inner_text(), "the error")
    other.locator("#factor-form:not([aria-busy])").wait_for()
    field.fill(totp(secret))
    other.keyboard.press("Enter")
    other.get_by_role("heading", name="Hello, Ada").wait_for()

    other.get_by_role("button", name="Remove the authenticator app").click()
    password = other.get_by_label("Your password")
    assert password.evaluate("field => field === document.activeElement")
    password.fill("wrong Horse 7 battery")
    # The log-in has used the current code, and the user pool also accepts the code of the next step.
    other.get_by_label("Unused code of your app").fill(totp(secret, time.time() + 30))
    other.keyboard.press("Enter")
    error = other.locator("#security-error")
    eventually(lambda: "password is wrong" in error.inner_text(), "the error")
    other.locator("#security-title").locator("..").and_(other.locator(":not([aria-busy])")).wait_for()
    password.fill("correct Horse 7 battery")
    other.keyboard.press("Enter")
    eventually(lambda: "Protect your account" in other.locator("#factor-state").inner_text(), "the removal")
    assert other.get_by_role("button", name="Remove the authenticator app").is_hidden()

    other.get_by_role("button", name="Log out on all devices").click()
    eventually(lambda: "on all devices" in other.locator("#account-error").inner_text(), "the log-out")


def test_a_forgotten_password_is_reset(region: Any, new_player: Any, new_page: Any, eventually: Eventually) -> None:
    """Test the forms. A local region sends no mail and accepts no code, so the test sets the password for one code.

    tests/integration/gameserver/functions/test_sessions.py tests the API with codes.
    """
    contract = Contract.parse(region.mjctl("outputs")["regions"][0]["outputs"])
    ada = new_player("Ada", **DESKTOP)
    page = new_page(**PHONE)
    page.get_by_label("E-mail").fill(ada.email)
    page.get_by_role("button", name="I have forgotten my password").click()
    address = page.get_by_label("Your address")
    assert address.input_value() == ada.email
    assert fits(page, "#account")
    page.keyboard.press("Enter")
    page.get_by_label("Code that we have sent").fill("1234 5678 9012")
    page.get_by_label("New password").fill("short")
    page.keyboard.press("Enter")
    eventually(lambda: "too weak" in page.locator("#reset-error").inner_text(), "the error")

    def accept(route: Any) -> None:
        sent = route.request.post_data_json
        assert sent["code"] == "1234 5678 9012"
        with RegionClients(contract) as clients:
            clients.client("cognito-idp").admin_set_user_password(
                UserPoolId=contract.identity.user_pool_id,
                Username=sent["email"],
                Password=sent["password"],
                Permanent=True,
            )
        route.fulfill(json={})

    page.locator("#reset-form:not([aria-busy])").wait_for()
    page.route("**/v1/password/reset", accept)
    page.get_by_label("New password").fill("another Horse 8 battery")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Hello, Ada").wait_for()


def test_a_log_out_revokes_the_refresh_token(new_player: Any, eventually: Eventually) -> None:
    ada = new_player("Ada", **DESKTOP)
    page = ada.page
    refresh = page.evaluate("() => JSON.parse(sessionStorage.getItem('arena.session')).refresh")
    with page.expect_response("**/v1/logout") as revoked:
        page.get_by_role("button", name="Log out", exact=True).click()
    assert revoked.value.status == 200
    page.locator("#account").wait_for()
    again = """token => fetch("/v1/refresh", { method: "POST", body: JSON.stringify({ refresh_token: token }) })
      .then(answer => answer.status)"""
    assert page.evaluate(again, refresh) == 401


def test_tabs_use_the_newest_refresh_token(new_page: Any) -> None:
    """Check that a tab does not use a refresh token that another tab has replaced."""
    sent = new_page().evaluate("""async () => {
      const { Session } = await import("/api.js");
      const tokens = (refresh, renewAt) => ({ access: refresh, refresh, renewAt, remembered: true });
      localStorage.setItem("arena.session", JSON.stringify(tokens("old", 0)));
      const session = new Session("");
      localStorage.setItem("arena.session", JSON.stringify(tokens("new", 0)));
      const sent = [];
      globalThis.fetch = async (path, { body }) => {
        sent.push(JSON.parse(body).refresh_token);
        return new Response(JSON.stringify({ access_token: "a", refresh_token: "newest", expires_in: 60 }));
      };
      await session.accessToken();
      const kept = JSON.parse(localStorage.getItem("arena.session")).refresh;
      localStorage.clear();
      return [...sent, kept];
    }""")
    assert sent == ["new", "newest"]
