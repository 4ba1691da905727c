/**
 * Holds the arena as the player of this page sees it. `World` turns the server's ticks into smooth motion on the
 * screen.
 */

/**
 * Speed of a player in field units per second, as in gameserver/rules/arena.py, by which the page predicts its own
 * player's position.
 */
export const SPEED_PER_SECOND = 260;
const FIELD = 1000;

/**
 * Number of ticks by which other players are shown late, so that the page knows a position before and after the shown
 * moment.
 */
const DELAY_TICKS = 2;
const CLOCK_DRIFT = 0.02;
const KEPT_SAMPLES = 64;
const HISTORY_MS = 1_000;
const CORRECTION = 0.25;
/** Prediction error, in field units, above which the server's position replaces the predicted position at once. */
const SNAP = 120;
/**
 * A jump of a shown position is smoothed with the time constant BLEND_MS, in milliseconds. A jump of BLEND_MAX field
 * units or more is not smoothed.
 */
const BLEND_MS = 90;
const BLEND_MAX = 260;
const EFFECT_MS = 900;
/** Time without a frame after which the match's clock stops. The server sends a frame at least twice a second. */
const SILENT_SECONDS = 0.6;
const USUAL_LATENCY_MS = 60;

class Runner {
  samples = [];
  /** Distance from the computed position to the shown position, which shrinks to zero. */
  offset = { x: 0, y: 0 };
  shown = null;
  name = "";
  playerId = "";
  score = 0;
  connected = true;

  get latest() {
    return this.samples.at(-1);
  }

  add(tick, x, y) {
    const last = this.latest;
    if (last !== undefined && tick <= last.tick) return;
    // Frames contain every change, so a runner that was in no frame has stood still since its last sample.
    if (last !== undefined && tick - last.tick > 1) this.samples.push({ tick: tick - 1, x: last.x, y: last.y });
    this.samples.push({ tick, x, y });
    if (this.samples.length > KEPT_SAMPLES) this.samples.splice(0, this.samples.length - KEPT_SAMPLES);
  }

  at(tick) {
    const samples = this.samples;
    while (samples.length > 2 && samples[1].tick <= tick) samples.shift();
    const [a, b = a] = samples;
    if (tick <= a.tick || a === b) return { x: a.x, y: a.y };
    const share = Math.min(1, (tick - a.tick) / (b.tick - a.tick));
    return { x: a.x + share * (b.x - a.x), y: a.y + share * (b.y - a.y) };
  }
}

export class World {
  /** Slot -> Runner. The attribute `shown` of a runner is the position at which the runner is drawn. */
  runners = new Map();
  /** Id of a pick-up -> {x, y, points, since}, where `since` is the time of the first frame with the pick-up. */
  pickUps = new Map();
  /**
   * Effects of collected pick-ups that are being drawn: {x, y, points, slot, at}, where `at` is the time of the
   * collection.
   */
  effects = [];
  slot = -1;
  field = FIELD;
  #tickMs = 50;
  #rate = 20;
  #durationTicks = 0;
  #lastTick = 0;
  #clockOffset = null;
  #heading = { x: 0, y: 0 };
  #predicted = null;
  #history = [];
  #advancedAt = 0;

  /** Milliseconds by which the prediction of the own player is ahead of the server. */
  inputLatencyMs = USUAL_LATENCY_MS;
  /** True while the page has no connection to a server. */
  frozen = false;

  /**
   * Replace the whole state by the state of a `welcome`. The tick of a `welcome` after a take-over may be lower than
   * the tick of the last frame.
   */
  welcome({ match, tick, state }, now) {
    this.slot = match.slot;
    this.#rate = match.tick_rate_hz;
    this.#tickMs = 1000 / match.tick_rate_hz;
    this.#durationTicks = match.duration_ticks;
    this.#clockOffset = null;
    this.#history = [];
    this.frozen = false;
    this.#observe(tick, now);
    this.#lastTick = tick;
    for (const runner of this.runners.values()) runner.samples = [];
    this.#view(tick, state, now);
    this.#seat(match.players);
    const own = this.runners.get(this.slot);
    this.#predicted = own ? { x: own.latest.x, y: own.latest.y } : null;
    for (const runner of this.runners.values()) this.#blend(runner, this.#placeOf(runner, now));
  }

  full({ tick, players, state }, now) {
    this.#observe(tick, now);
    this.#view(tick, state, now);
    this.#seat(players);
    this.#correct(now);
  }

  frame({ tick, changes, events }, now) {
    this.#observe(tick, now);
    if (changes !== null) this.#change(tick, changes, now);
    for (const { type, payload } of events) {
      if (type === "player.joined") this.#name(payload.slot, payload.player_id, payload.display_name);
    }
    this.#correct(now);
  }

  /** Let the own player run in a direction from now on. A vector longer than 1 is shortened to 1. */
  steer(x, y) {
    const length = Math.max(1, Math.hypot(x, y));
    this.#heading = { x: x / length, y: y / length };
  }

  /** Compute the positions to show at `now`, a value of performance.now(). */
  advance(now) {
    const elapsed = Math.min(100, now - this.#advancedAt);
    this.#advancedAt = now;
    this.#predict(elapsed, now);
    const fade = Math.exp(-elapsed / BLEND_MS);
    for (const runner of this.runners.values()) {
      const place = this.#placeOf(runner, now);
      runner.offset.x *= fade;
      runner.offset.y *= fade;
      runner.shown = { x: place.x + runner.offset.x, y: place.y + runner.offset.y };
    }
    this.effects = this.effects.filter((effect) => now - effect.at < EFFECT_MS);
  }

  secondsLeft(now) {
    const limit = this.#lastTick + SILENT_SECONDS * this.#rate;
    const tick = this.#clockOffset === null ? this.#lastTick : Math.min(limit, this.#tickAt(now));
    return Math.max(0, (this.#durationTicks - tick) / this.#rate);
  }

  /** Return the runners by falling score, then by seat: [{slot, name, score, connected, rank, me}]. */
  standing() {
    const rows = [...this.runners].map(([slot, { name, score, connected }]) => ({
      slot,
      name: name || "…",
      score,
      connected,
      me: slot === this.slot,
    }));
    rows.sort((a, b) => b.score - a.score || a.slot - b.slot);
    return rows.map((row) => ({ ...row, rank: 1 + rows.filter((other) => other.score > row.score).length }));
  }

  #tickAt(now) {
    return (now - this.#clockOffset) / this.#tickMs;
  }

  /**
   * Estimate the local time of the match's tick 0 from the arrival of a frame. A frame with less delay than all earlier
   * frames sets the estimate of tick 0 at once. A frame with more delay than an earlier frame shifts the estimate of
   * tick 0 slowly, in case all frames have become slower.
   */
  #observe(tick, now) {
    const offset = now - tick * this.#tickMs;
    if (this.#clockOffset === null || offset < this.#clockOffset) this.#clockOffset = offset;
    else this.#clockOffset += CLOCK_DRIFT * (offset - this.#clockOffset);
    this.#lastTick = Math.max(this.#lastTick, tick);
  }

  #runner(slot) {
    let runner = this.runners.get(slot);
    if (runner === undefined) this.runners.set(slot, (runner = new Runner()));
    return runner;
  }

  #name(slot, playerId, name) {
    const runner = this.runners.get(slot);
    if (runner === undefined) return;
    runner.playerId = playerId;
    runner.name = name;
    runner.connected = true;
  }

  #seat(players) {
    for (const { slot, player_id: playerId, name, connected } of players) {
      this.#name(slot, playerId, name);
      const runner = this.runners.get(slot);
      // A full frame from before the player's return may show the own player as not connected, which is out of date.
      if (runner !== undefined) runner.connected = connected || slot === this.slot;
    }
  }

  #view(tick, { field, players, pick_ups: pickUps }, now) {
    this.field = field;
    for (const slot of this.runners.keys()) if (!(slot in players)) this.runners.delete(slot);
    for (const [slot, [x, y, score]] of Object.entries(players)) {
      const runner = this.#runner(Number(slot));
      runner.add(tick, x, y);
      runner.score = score;
    }
    const before = this.pickUps;
    this.pickUps = new Map(pickUps.map(([id, x, y, points]) => [id, { x, y, points, since: now }]));
    for (const [id, pickUp] of this.pickUps) pickUp.since = before.get(id)?.since ?? now;
  }

  #change(tick, [moved, taken = [], spawned = [], scores = [], left = []], now) {
    for (let i = 0; i < moved.length; i += 3) this.#runner(moved[i]).add(tick, moved[i + 1], moved[i + 2]);
    const scored = [];
    for (let i = 0; i < scores.length; i += 2) {
      const runner = this.runners.get(scores[i]);
      if (runner === undefined) continue;
      if (scores[i + 1] > runner.score) scored.push(scores[i]);
      runner.score = scores[i + 1];
    }
    for (const id of taken) {
      const pickUp = this.pickUps.get(id);
      if (pickUp === undefined) continue;
      this.pickUps.delete(id);
      this.effects.push({ ...pickUp, slot: this.#nearest(pickUp, scored), at: now });
    }
    for (const [id, x, y, points] of spawned) this.pickUps.set(id, { x, y, points, since: now });
    for (const slot of left) this.runners.delete(slot);
  }

  #nearest({ x, y }, slots) {
    const distance = (slot) => {
      const place = this.runners.get(slot).latest;
      return Math.hypot(place.x - x, place.y - y);
    };
    return slots.reduce((best, slot) => (best === -1 || distance(slot) < distance(best) ? slot : best), -1);
  }

  #placeOf(runner, now) {
    if (this.#predicted !== null && runner === this.runners.get(this.slot)) return this.#predicted;
    return runner.at(this.#tickAt(now) - DELAY_TICKS);
  }

  /** Show the runner at its old position first, and let the difference to its new position shrink. */
  #blend(runner, place) {
    if (runner.shown === null) return;
    const x = runner.shown.x - place.x;
    const y = runner.shown.y - place.y;
    runner.offset = Math.hypot(x, y) < BLEND_MAX ? { x, y } : { x: 0, y: 0 };
  }

  #predict(elapsed, now) {
    const own = this.#predicted;
    if (own === null) return;
    if (!this.frozen) {
      const reach = (SPEED_PER_SECOND * elapsed) / 1000;
      own.x = Math.min(this.field, Math.max(0, own.x + this.#heading.x * reach));
      own.y = Math.min(this.field, Math.max(0, own.y + this.#heading.y * reach));
    }
    this.#history.push({ at: now, x: own.x, y: own.y });
    while (this.#history.length > 1 && this.#history[0].at < now - HISTORY_MS) this.#history.shift();
  }

  /** Compare the server's position with the predicted position for the same moment, and correct a part of the error. */
  #correct(now) {
    const runner = this.runners.get(this.slot);
    if (runner?.latest === undefined) {
      this.#predicted = null;
      return;
    }
    const { x, y } = runner.latest;
    this.#predicted ??= { x, y };
    // In the first frame that shows an input, the server has already moved the player by a whole tick, so subtract a
    // tick from the latency of inputs.
    const then = now - Math.max(0, this.inputLatencyMs - this.#tickMs);
    const predicted = this.#history.findLast((entry) => entry.at <= then) ?? this.#history[0] ?? this.#predicted;
    const error = { x: x - predicted.x, y: y - predicted.y };
    if (Math.hypot(error.x, error.y) > SNAP) {
      this.#predicted = { x, y };
      this.#history = [];
      this.#blend(runner, this.#predicted);
      return;
    }
    for (const entry of [this.#predicted, ...this.#history]) {
      entry.x += CORRECTION * error.x;
      entry.y += CORRECTION * error.y;
    }
  }
}
