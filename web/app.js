/** The screens of the page and their order: account, lobby, joining, game, result, lobby. */

import { ApiError, Session } from "./api.js";
import { byId, duration, element, ordinal, takeInvitation } from "./dom.js";
import { Game, forgetMatch, interruptedMatch } from "./game.js";
import { Security } from "./security.js";
import { SeatLost, SeatRefused } from "./seat.js";

/**
 * Number of attempts to join an open match. An attempt fails if the match fills up or ends before the player reaches
 * its server.
 */
const JOIN_TRIES = 3;
const GONE = new Set(["match_full", "match_over", "no_such_match"]);
/** Number of attempts to read the result of a match, which is stored a moment after the match has ended. */
const RESULT_TRIES = 6;
const RESULT_RETRY_MS = 500;
const TITLES = { account: "Log in", lobby: "Lobby", joining: "Finding a match", game: "Match", result: "Result" };

class App {
  #session;
  #modes;
  #profile = null;
  #game = null;
  #mode = "";
  #signingUp = false;
  #security;
  /** Function that completes a log-in with the code of the authenticator app, or null. */
  #secondStep = null;
  /** Id of the match in the invitation link, kept until the player is logged in. */
  #invitation = null;
  /**
   * Number of the player's last action, for example joining. The page ignores the server's answer to any earlier action
   * of the player.
   */
  #wish = 0;

  constructor(config) {
    this.#session = new Session(config.api);
    this.#session.onExpired = () => this.#askForAccount("Your session has ended. Log in again.");
    this.#security = new Security(this.#session, { busy, filledIn }, () =>
      this.#askForAccount("You are logged out on all devices."),
    );
    this.#modes = config.modes;
    this.#mode = config.modes[0]?.name ?? "";
    this.#showModes();
    this.#listen();
  }

  start() {
    const match = interruptedMatch();
    this.#invitation = takeInvitation();
    if (!this.#session.loggedIn) this.#askForAccount();
    else if (match !== null) this.#resume(match);
    else this.#acceptInvitation();
  }

  #listen() {
    byId("show-log-in").onclick = () => this.#chooseForm(false);
    byId("show-sign-up").onclick = () => this.#chooseForm(true);
    byId("account-form").onsubmit = (event) => {
      event.preventDefault();
      this.#submitAccount();
    };
    byId("show-confirmation").onclick = () => this.#askForCode(byId("email").value);
    byId("confirmation-form").onsubmit = (event) => {
      event.preventDefault();
      this.#submitCode();
    };
    byId("resend-code").onclick = () => this.#resendCode();
    byId("show-forgotten").onclick = () => this.#askForAddress();
    byId("forgotten-form").onsubmit = (event) => {
      event.preventDefault();
      this.#submitAddress();
    };
    byId("reset-form").onsubmit = (event) => {
      event.preventDefault();
      this.#submitReset();
    };
    byId("factor-form").onsubmit = (event) => {
      event.preventDefault();
      this.#submitFactor();
    };
    byId("log-out").onclick = () => {
      this.#session.logOut();
      this.#askForAccount();
    };
    byId("modes").onchange = (event) => {
      this.#mode = event.target.value;
    };
    byId("quick-match").onclick = () => this.#play("open");
    byId("new-match").onclick = () => this.#play("new");
    byId("play-again").onclick = () => this.#play("open");
    byId("back").onclick = () => this.#openLobby();
    byId("cancel-joining").onclick = () => this.#leave();
    byId("leave").onclick = () => byId("leaving").showModal();
    byId("leaving").onclose = () => {
      if (byId("leaving").returnValue === "leave") this.#leave();
      byId("leaving").returnValue = "";
    };
    addEventListener("hashchange", () => {
      this.#invitation = takeInvitation() ?? this.#invitation;
      if (this.#invitation !== null && !byId("lobby").hidden) this.#acceptInvitation();
    });
    addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !byId("game").hidden && !byId("leaving").open) {
        event.preventDefault();
        byId("leaving").showModal();
      }
    });
  }

  // Account

  #askForAccount(message = "") {
    this.#wish += 1;
    this.#game?.leave();
    this.#game = null;
    this.#profile = null;
    forgetMatch();
    show("account");
    this.#showForm("account-form");
    byId("account-error").textContent = message;
  }

  /** Show one of the forms of the screen. */
  #showForm(id) {
    for (const form of byId("account").querySelectorAll("form")) form.hidden = form.id !== id;
  }

  #chooseForm(signUp) {
    this.#signingUp = signUp;
    this.#showForm("account-form");
    for (const id of ["show-confirmation", "show-forgotten"]) byId(id).hidden = signUp;
    byId("show-log-in").setAttribute("aria-pressed", String(!signUp));
    byId("show-sign-up").setAttribute("aria-pressed", String(signUp));
    for (const part of document.querySelectorAll("[data-sign-up]")) part.hidden = !signUp;
    const password = byId("password");
    password.autocomplete = signUp ? "new-password" : "current-password";
    if (signUp) password.setAttribute("aria-describedby", "password-hint");
    else password.removeAttribute("aria-describedby");
    byId("account-form").querySelector("[type=submit]").textContent = signUp ? "Create account" : "Log in";
    byId("account-error").textContent = "";
    byId(signUp ? "display-name" : "email").focus();
  }

  async #submitAccount() {
    const signUp = this.#signingUp;
    const [name, email, password] = ["display-name", "email", "password"].map((id) => byId(id));
    if (!filledIn([...(signUp ? [name] : []), email, password], byId("account-error"))) return;
    await busy(byId("account-form"), byId("account-error"), async () => {
      const usable = !signUp || (await this.#session.signUp(email.value, password.value, name.value));
      if (!usable) {
        this.#askForCode(email.value, "We have sent a code to your e-mail address.");
        return;
      }
      await this.#logIn();
    });
  }

  /** Log in with the address and the password of the account form. */
  async #logIn() {
    const password = byId("password");
    this.#secondStep = await this.#session.logIn(byId("email").value, password.value, byId("remember").checked);
    password.value = "";
    if (this.#secondStep !== null) {
      this.#showForm("factor-form");
      byId("factor-code").value = "";
      byId("factor-error").textContent = "";
      byId("factor-code").focus();
      return;
    }
    await this.#acceptInvitation();
  }

  async #submitFactor() {
    const code = byId("factor-code");
    if (!filledIn([code], byId("factor-error"))) return;
    await busy(byId("factor-form"), byId("factor-error"), async () => {
      try {
        await this.#secondStep(code.value);
      } catch (error) {
        if (error.code !== "login_expired") throw error;
        this.#chooseForm(false);
        byId("account-error").textContent = error.message;
        return;
      }
      this.#secondStep = null;
      await this.#acceptInvitation();
    });
  }

  #askForAddress() {
    this.#showForm("forgotten-form");
    byId("forgotten-email").value = byId("email").value;
    byId("forgotten-error").textContent = "";
    byId("forgotten-email").focus();
  }

  async #submitAddress() {
    const email = byId("forgotten-email");
    if (!filledIn([email], byId("forgotten-error"))) return;
    await busy(byId("forgotten-form"), byId("forgotten-error"), async () => {
      await this.#session.forgotPassword(email.value);
      this.#showForm("reset-form");
      for (const id of ["reset-code", "reset-password"]) byId(id).value = "";
      byId("reset-error").textContent = "";
      byId("reset-code").focus();
    });
  }

  async #submitReset() {
    const fields = [byId("reset-code"), byId("reset-password")];
    const [code, password] = fields;
    if (!filledIn(fields, byId("reset-error"))) return;
    const email = byId("forgotten-email").value;
    await busy(byId("reset-form"), byId("reset-error"), async () => {
      await this.#session.resetPassword(email, code.value, password.value);
      this.#chooseForm(false);
      byId("email").value = email;
      byId("password").value = password.value;
      await this.#logIn();
    });
  }

  #askForCode(email, hint = "Enter the code from the e-mail.") {
    this.#showForm("confirmation-form");
    byId("confirmation-hint").textContent = hint;
    byId("confirmation-email").value = email;
    byId("confirmation-code").value = "";
    byId("confirmation-error").textContent = "";
    byId(email === "" ? "confirmation-email" : "confirmation-code").focus();
  }

  async #submitCode() {
    const fields = [byId("confirmation-email"), byId("confirmation-code")];
    const [email, code] = fields;
    if (!filledIn(fields, byId("confirmation-error"))) return;
    await busy(byId("confirmation-form"), byId("confirmation-error"), async () => {
      await this.#session.confirm(email.value, code.value);
      // The account form still has the password if the player has just signed up on this page.
      const signedUp = byId("password").value !== "" && byId("email").value === email.value;
      this.#chooseForm(false);
      byId("email").value = email.value;
      if (signedUp) await this.#logIn();
      else byId("password").focus();
    });
  }

  async #resendCode() {
    const email = byId("confirmation-email");
    if (!filledIn([email], byId("confirmation-error"))) return;
    await busy(byId("confirmation-form"), byId("confirmation-error"), async () => {
      await this.#session.resendCode(email.value);
      byId("confirmation-hint").textContent =
        "If this address has an account that needs a confirmation, we have sent a new code to it.";
      byId("confirmation-code").focus();
    });
  }

  // Lobby

  #showModes() {
    const choices = this.#modes.map(({ name, seats, duration_seconds: seconds }) => {
      const choice = element("label", { className: "mode" });
      const radio = element("input", { type: "radio", name: "mode", value: name, checked: name === this.#mode });
      const title = element("span", { className: "mode-name", textContent: name });
      const about = `${duration(seconds)} · up to ${seats} players`;
      choice.append(radio, title, element("span", { className: "mode-about", textContent: about }));
      return choice;
    });
    byId("modes").replaceChildren(...choices);
    // The list of modes is empty if no mode has the rules of the arena, because this page can only draw the arena.
    const none = choices.length === 0;
    byId("modes-empty").hidden = !none;
    for (const id of ["quick-match", "new-match", "play-again"]) byId(id).disabled = none;
  }

  async #openLobby(message = "") {
    const wish = ++this.#wish;
    show("lobby");
    byId("lobby-error").textContent = message;
    this.#security.load();
    const [profile, leaders] = await Promise.allSettled([this.#session.profile(), this.#session.leaderboard()]);
    if (wish !== this.#wish) return;
    const failed = [profile, leaders].find(({ status }) => status === "rejected");
    if (failed !== undefined && message === "") byId("lobby-error").textContent = wordsFor(failed.reason);
    if (profile.status === "fulfilled") this.#showProfile(profile.value);
    if (leaders.status === "fulfilled") this.#showLeaders(leaders.value);
  }

  #showProfile(profile) {
    this.#profile = profile;
    byId("lobby-title").textContent = `Hello, ${profile.display_name}`;
    byId("record-matches").textContent = profile.matches;
    byId("record-wins").textContent = profile.wins;
    byId("record-best").textContent = profile.best_score;
    byId("record-total").textContent = profile.total_score;
  }

  #showLeaders(entries) {
    byId("leaders-empty").hidden = entries.length > 0;
    const rows = entries.map((entry) =>
      rankingRow({
        rank: entry.rank,
        name: entry.display_name,
        figure: entry.total_score,
        me: entry.player_id === this.#profile?.player_id,
      }),
    );
    byId("leaders").replaceChildren(...rows);
  }

  // Match

  async #play(join) {
    const wish = ++this.#wish;
    show("joining");
    byId("joining-title").textContent = join === "open" ? "Finding a match…" : "Starting a match…";
    let problem = null;
    for (let tries = 0; tries < JOIN_TRIES && wish === this.#wish; tries += 1) {
      try {
        const { match_id: matchId, mode, server } = await this.#session.createMatch(this.#mode, join);
        if (wish !== this.#wish) return;
        await this.#enter({ matchId, mode, url: server.url }, wish);
        return;
      } catch (error) {
        problem = error;
        if (!(error instanceof SeatRefused && GONE.has(error.code))) break;
      }
    }
    if (wish === this.#wish && this.#session.loggedIn) this.#openLobby(wordsFor(problem));
  }

  /** Enter the match of the invitation link, or the lobby if the page has no invitation. */
  async #acceptInvitation() {
    const matchId = this.#invitation;
    this.#invitation = null;
    if (matchId === null) {
      await this.#openLobby();
      return;
    }
    const wish = ++this.#wish;
    show("joining");
    byId("joining-title").textContent = "Joining the match…";
    try {
      // A player with an invitation link enters the match without the lobby, which otherwise loads the profile. Load
      // the profile here, because the match shows the player's name.
      const [profile, { mode, server }] = await Promise.all([this.#session.profile(), this.#session.match(matchId)]);
      if (wish !== this.#wish) return;
      this.#profile = profile;
      if (server === null) this.#openLobby(REFUSALS.match_over);
      else await this.#enter({ matchId, mode, url: server.url }, wish);
    } catch (error) {
      if (wish === this.#wish && this.#session.loggedIn) this.#openLobby(wordsFor(error));
    }
  }

  /** Return to the seat that this tab had before it was reloaded. */
  async #resume(match) {
    const wish = ++this.#wish;
    this.#mode = match.mode;
    show("joining");
    byId("joining-title").textContent = "Returning to your match…";
    try {
      await this.#enter(match, wish);
    } catch (error) {
      if (wish === this.#wish) await this.#explain(error, match.matchId, wish);
    }
  }

  /**
   * Enter a match. The returned promise resolves once the player has a seat in the match, and rejects if the player
   * gets no seat. If a seated player loses the seat, the page shows the error to the player.
   */
  #enter(ticket, wish) {
    return new Promise((resolve, reject) => {
      let seated = false;
      const access = {
        name: this.#profile?.display_name ?? "",
        token: (options) => this.#session.accessToken(options),
        locate: async (matchId) => (await this.#session.match(matchId)).server?.url ?? null,
      };
      const game = new Game(ticket, access, {
        onSeated: () => {
          seated = true;
          show("game");
          resolve();
        },
        onEnded: (result, playerId) => {
          if (wish === this.#wish) this.#showResult(result, playerId);
          resolve();
        },
        onFailed: (error) => {
          if (!seated) reject(error);
          else if (wish === this.#wish) this.#explain(error, ticket.matchId, wish);
        },
      });
      this.#game = game;
      game.open();
    });
  }

  #leave() {
    this.#wish += 1;
    this.#game?.leave();
    this.#game = null;
    forgetMatch();
    this.#openLobby();
  }

  /** Show why the player cannot return to a match: the result if the match has ended, or else the error. */
  async #explain(error, matchId, wish) {
    forgetMatch();
    if (error instanceof SeatRefused && GONE.has(error.code)) {
      for (let tries = 0; tries < RESULT_TRIES && wish === this.#wish; tries += 1) {
        const match = await this.#session.match(matchId).catch(() => null);
        if (match?.result) {
          if (wish === this.#wish) this.#showResult(match.result, await this.#ownId());
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, RESULT_RETRY_MS));
      }
    }
    if (wish === this.#wish && this.#session.loggedIn) this.#openLobby(wordsFor(error));
  }

  async #ownId() {
    this.#profile ??= await this.#session.profile().catch(() => null);
    return this.#profile?.player_id ?? "";
  }

  #showResult({ reason, players }, playerId) {
    forgetMatch();
    this.#game = null;
    if (byId("leaving").open) byId("leaving").close("stay");
    const own = players.find((player) => player.player_id === playerId);
    const alone = players.length === 1;
    const won = own?.rank === 1 && !alone;
    byId("result-medal").textContent = own === undefined ? "" : own.score;
    byId("result-title").textContent = titleOf(own, alone, won, players);
    const points = own === undefined ? "" : `You collected ${own.score} ${own.score === 1 ? "point" : "points"}.`;
    byId("result-lead").textContent = reason === "error" ? "The match had to be stopped." : points;
    byId("result").classList.toggle("won", won);
    const rows = players.map(({ rank, display_name: name, score, player_id: id }) =>
      rankingRow({ rank, name, figure: score, me: id === playerId }),
    );
    byId("ranking").replaceChildren(...rows);
    byId("result-error").textContent = "";
    show("result");
  }
}

function titleOf(own, alone, won, players) {
  if (own === undefined || alone) return "Time is up";
  if (!won) return `${ordinal(own.rank)} of ${players.length}`;
  return players.filter((player) => player.rank === 1).length > 1 ? "You share the win" : "You win!";
}

function rankingRow({ rank, name, figure, me }) {
  const row = element("li", { className: me ? "me" : "" });
  row.append(
    element("span", { className: "rank", textContent: rank }),
    element("span", { className: "name", textContent: name }),
    ...(me ? [element("span", { className: "tag", textContent: "you" })] : []),
    element("span", { className: "points", textContent: figure }),
  );
  return row;
}

/** Show one screen, and move the focus to its beginning, where a screen reader starts. */
function show(name) {
  for (const screen of document.querySelectorAll("main")) screen.hidden = screen.id !== name;
  document.title = `${TITLES[name]} · Arena`;
  document.body.dataset.screen = name;
  scrollTo(0, 0);
  const start = name === "game" ? byId("arena") : byId(name).querySelector("h1");
  start.focus({ preventScroll: true });
}

/** Return true if all fields have text. Mark the first empty field, and name it in the element `place`. */
function filledIn(fields, place) {
  const missing = fields.find((field) => field.value.trim() === "");
  for (const field of fields) field.setAttribute("aria-invalid", String(field === missing));
  if (missing === undefined) return true;
  place.textContent = `Fill in: ${missing.labels[0].textContent}.`;
  missing.focus();
  return false;
}

/** Run `work` with the form's buttons disabled, and show an error of `work` in the element `place`. */
async function busy(form, place, work) {
  const buttons = form.querySelectorAll("button");
  place.textContent = "";
  for (const button of buttons) button.disabled = true;
  form.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    place.textContent = wordsFor(error);
  } finally {
    for (const button of buttons) button.disabled = false;
    form.removeAttribute("aria-busy");
  }
}

const REFUSALS = {
  bad_token: "Your session has ended. Log in again.",
  match_full: "The match is full. Join another match.",
  match_over: "The match is over.",
  no_such_match: "The match is over.",
  rate_limited: "The server has closed the connection, because it received too many messages.",
  replaced: "You have joined this match in another window. Continue to play there.",
};

function wordsFor(error) {
  if (error instanceof SeatRefused) return REFUSALS[error.code] ?? `The game server refused: ${error.message}.`;
  if (error instanceof ApiError || error instanceof SeatLost) return error.message;
  console.error(error);
  return "The page has an error. Reload it.";
}

async function main() {
  try {
    const response = await fetch("config.json");
    if (!response.ok) throw new Error(`config.json: ${response.status}`);
    new App(await response.json()).start();
  } catch (error) {
    console.error(error);
    show("account");
    byId("account-error").textContent = "The game cannot be reached. Reload the page in a moment.";
  }
}

main();
