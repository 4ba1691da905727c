/**
 * Shows one match on the screen. `Game` connects the seat, the world, the renderer, the controls, the chat and the
 * texts.
 */

import { Chat } from "./chat.js";
import { Controls } from "./controls.js";
import { byId, element, inviteLink } from "./dom.js";
import { Renderer, colourOf } from "./renderer.js";
import { Seat } from "./seat.js";
import { World } from "./world.js";

const SEND_EVERY_MS = 33;
/**
 * Interval at which the page sends an unchanged direction again. The repeated inputs keep the measured latency current,
 * and after a take-over tell the new server the player's direction.
 */
const REPEAT_EVERY_MS = 250;
const TOAST_MS = 3_500;
const MATCH_KEY = "arena.match";
const LAST_SECONDS = 10;

/** Return the match that this tab played before it was reloaded, or null. */
export function interruptedMatch() {
  try {
    return JSON.parse(sessionStorage.getItem(MATCH_KEY));
  } catch {
    return null;
  }
}

export function forgetMatch() {
  sessionStorage.removeItem(MATCH_KEY);
}

export class Game {
  #world = new World();
  #renderer;
  #controls;
  #chat;
  #seat;
  #mode;
  #handlers;
  #frame = 0;
  #sent = { x: 0, y: 0, at: 0 };
  #scoresShown = "";
  #clockShown = "";
  #ownScore = 0;
  #playerId = "";
  #seats = 1;
  /** Player id -> name, including the players who have left. */
  #names = new Map();

  /**
   * Prepare a match, which `open` starts. `ticket` has `matchId`, `url` and `mode`, and `resume` for a return to the
   * seat.
   * `access` is the argument `access` of the constructor of `Seat`.
   * `handlers` has `onSeated()`, `onEnded(result, playerId)` and `onFailed(error, playerId)`.
   */
  constructor(ticket, access, handlers) {
    this.#mode = ticket.mode;
    this.#handlers = handlers;
    this.#renderer = new Renderer(freshCanvas());
    this.#controls = new Controls(byId("game"), byId("stick"), () => this.#ownPlace());
    this.#chat = new Chat((text) => this.#seat.say(text));
    this.#seat = new Seat(ticket, access, {
      onWelcome: (welcome) => this.#welcome(welcome),
      onFrame: (frame) => this.#onFrame(frame),
      onFull: (full) => this.#world.full(full, performance.now()),
      onChat: ({ slot, text }) => this.#showLine(slot, text),
      onUnsaid: (reason) => this.#chat.unsaid(reason),
      onLatency: (latency) => this.#showLatency(latency),
      onInterrupted: () => this.#interrupted(),
      onEnded: (result) => this.#finish(() => handlers.onEnded(result, this.#playerId)),
      onFailed: (error) => this.#finish(() => handlers.onFailed(error, this.#playerId)),
    });
    document.addEventListener("visibilitychange", this.#onVisibility);
    byId("toasts").replaceChildren();
    byId("scores").replaceChildren();
    byId("latency").textContent = "–";
    byId("waiting").hidden = true;
    byId("copy-invite").onclick = copyInvite;
  }

  open() {
    return this.#seat.open();
  }

  /** Give up the player's seat. */
  leave() {
    this.#seat.leave();
    this.#finish(() => {});
  }

  #finish(then) {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    document.removeEventListener("visibilitychange", this.#onVisibility);
    this.#controls.close();
    this.#chat.close();
    byId("interruption").hidden = true;
    then();
  }

  #welcome(welcome) {
    const { match, url } = welcome;
    this.#playerId = match.player_id;
    this.#seats = match.seats;
    byId("invite-link").value = inviteLink(match.match_id);
    byId("copy-invite").textContent = "Copy link";
    const saved = { matchId: match.match_id, url, mode: this.#mode, resume: match.resume };
    sessionStorage.setItem(MATCH_KEY, JSON.stringify(saved));
    this.#world.welcome(welcome, performance.now());
    this.#ownScore = this.#world.runners.get(match.slot)?.score ?? 0;
    // After a take-over the new server may not know the last inputs, so make `#steer` send the direction at once.
    this.#sent.at = 0;
    byId("server").textContent = match.server_id;
    byId("game").dataset.match = match.match_id;
    byId("game").dataset.connection = "connected";
    if (!byId("interruption").hidden) say("Connected again. The match continues.");
    byId("interruption").hidden = true;
    if (this.#frame === 0) {
      this.#handlers.onSeated();
      this.#frame = requestAnimationFrame(this.#draw);
    }
  }

  #onFrame(frame) {
    const world = this.#world;
    world.frame(frame, performance.now());
    for (const { type, payload } of frame.events) {
      if (payload?.player_id === this.#playerId) continue;
      if (type === "player.joined") toast(`${payload.display_name} joined`, payload.slot);
      if (type === "player.left") toast(`${this.#nameOf(payload.player_id)} left`, payload.slot);
    }
    const score = world.runners.get(world.slot)?.score ?? 0;
    if (score > this.#ownScore) say(`${score} points`);
    this.#ownScore = score;
  }

  #showLine(slot, text) {
    const name = this.#world.runners.get(slot)?.name ?? "A player";
    this.#chat.add(name, text, colourOf(slot));
    if (slot !== this.#world.slot) say(`${name} says: ${text}`);
  }

  #nameOf(playerId) {
    return this.#names.get(playerId) ?? "A player";
  }

  #interrupted() {
    this.#world.frozen = true;
    byId("game").dataset.connection = "interrupted";
    byId("interruption").hidden = false;
    byId("latency").textContent = "–";
    say("Connection lost. Reconnecting; your seat is kept.");
  }

  #onVisibility = () => {
    // A hidden page draws nothing and receives no keys, so the player stops until the page is visible again.
    if (document.hidden) {
      this.#controls.release();
      this.#sent.at = 0;
      this.#steer(performance.now());
    }
  };

  #draw = (now) => {
    this.#frame = requestAnimationFrame(this.#draw);
    this.#steer(now);
    this.#world.advance(now);
    this.#renderer.draw(this.#world, now);
    this.#showClock(now);
    this.#showScores();
  };

  #steer(now) {
    const { x, y } = this.#controls.direction();
    const [wantX, wantY] = [round(x), round(y)];
    this.#world.steer(wantX, wantY);
    const changed = wantX !== this.#sent.x || wantY !== this.#sent.y;
    if (now - this.#sent.at < (changed ? SEND_EVERY_MS : REPEAT_EVERY_MS)) return;
    this.#sent = { x: wantX, y: wantY, at: now };
    this.#seat.send([wantX, wantY]);
  }

  #ownPlace() {
    const shown = this.#world.runners.get(this.#world.slot)?.shown;
    return shown ? this.#renderer.onPage(shown) : null;
  }

  #showLatency({ network, input }) {
    if (input !== null) this.#world.inputLatencyMs = input;
    if (network !== null) byId("latency").textContent = `${Math.max(1, Math.round(network))} ms`;
  }

  #showClock(now) {
    const left = Math.ceil(this.#world.secondsLeft(now));
    const text = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    if (text === this.#clockShown) return;
    this.#clockShown = text;
    const clock = byId("clock");
    clock.textContent = text;
    clock.classList.toggle("last", left <= LAST_SECONDS);
    if (left === LAST_SECONDS) say(`${LAST_SECONDS} seconds left`);
  }

  #showScores() {
    const rows = this.#world.standing();
    const key = JSON.stringify(rows);
    if (key === this.#scoresShown) return;
    this.#scoresShown = key;
    for (const { playerId, name } of this.#world.runners.values()) this.#names.set(playerId, name);
    byId("scores").replaceChildren(...rows.map(scoreRow));
    this.#showWaiting(rows.length === 1 && this.#seats > 1);
  }

  #showWaiting(alone) {
    if (byId("waiting").hidden === !alone) return;
    byId("waiting").hidden = !alone;
    if (alone) say("Waiting for players");
  }
}

async function copyInvite() {
  const link = byId("invite-link");
  try {
    await navigator.clipboard.writeText(link.value);
    byId("copy-invite").textContent = "Copied";
  } catch {
    // Browsers allow the clipboard only on secure pages and with the player's permission. Without the clipboard the
    // player copies the selected link by hand.
    link.select();
  }
}

function scoreRow({ slot, name, score, connected, rank, me }) {
  const row = element("li", { className: "score" });
  row.classList.toggle("me", me);
  row.classList.toggle("away", !connected);
  row.style.setProperty("--player", colourOf(slot));
  row.dataset.slot = slot;
  row.append(
    element("span", { className: "rank", textContent: rank }),
    element("span", { className: "swatch" }),
    element("span", { className: "name", textContent: name }),
    ...(me ? [element("span", { className: "tag", textContent: "you" })] : []),
    ...(connected ? [] : [element("span", { className: "tag", textContent: "away" })]),
    element("span", { className: "points", textContent: score }),
  );
  return row;
}

/**
 * Replace the canvas by a new canvas for the next match, which discards the old canvas with its observer and its
 * picture.
 */
function freshCanvas() {
  const old = byId("arena");
  const canvas = old.cloneNode();
  old.replaceWith(canvas);
  return canvas;
}

function toast(text, slot) {
  const note = element("p", { className: "toast", textContent: text });
  note.style.setProperty("--player", colourOf(slot));
  byId("toasts").append(note);
  setTimeout(() => note.remove(), TOAST_MS);
}

function say(text) {
  byId("announcer").textContent = text;
}

/** Round a direction to hundredths, which are finer than the movement of a thumb. */
function round(value) {
  return Math.round(value * 100) / 100;
}
