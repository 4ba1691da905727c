// The rules of gameserver/rules/arena.py with a Colyseus schema. Field, speed, reach, pick-ups and points are equal to
// those of arena.py.

import { schema, t } from "@colyseus/schema";

export const TICK_RATE_HZ = 20;

const FIELD = 1000;
const SPEED_PER_SECOND = 260;
const REACH = 26;
const RICH_CHANCE = 8;
const RICH_POINTS = 5;
const CELL = 2 * REACH;
const CELLS = Math.floor(FIELD / CELL) + 2;
const MARGIN = 20;
const STRIDE = SPEED_PER_SECOND / TICK_RATE_HZ;

const Player = schema({ x: t.uint16(), y: t.uint16(), score: t.uint16(), lastInput: t.uint16() }, "Player");
const PickUp = schema({ x: t.uint16(), y: t.uint16(), points: t.uint8() }, "PickUp");

export const ArenaState = schema({ players: t.map(Player), pickUps: t.map(PickUp) }, "ArenaState");

// Values that Colyseus does not send to clients are outside of the schema: exact positions, headings and the grid of
// pick-ups.
class Runner {
  constructor(player) {
    this.player = player;
    this.x = player.x;
    this.y = player.y;
    this.headingX = 0;
    this.headingY = 0;
  }
}

export class Arena {
  constructor(state, seats) {
    this.state = state;
    this.wanted = Math.max(6, seats + Math.floor(seats / 2));
    this.runners = new Map();
    this.pickUps = new Map();
    this.cells = new Map();
    this.nextPickUp = 0;
    this.fill();
  }

  add(key) {
    const player = new Player();
    player.x = coordinate();
    player.y = coordinate();
    player.score = 0;
    player.lastInput = 0;
    this.state.players.set(key, player);
    const runner = new Runner(player);
    this.runners.set(key, runner);
    return runner;
  }

  remove(key) {
    this.runners.delete(key);
    this.state.players.delete(key);
  }

  apply(runner, sequence, x, y) {
    const length = Math.sqrt(x * x + y * y);
    const scale = length > 1 ? STRIDE / length : STRIDE;
    runner.headingX = x * scale;
    runner.headingY = y * scale;
    runner.player.lastInput = sequence & 0xffff;
  }

  step() {
    let taken = false;
    for (const runner of this.runners.values()) {
      if (runner.headingX !== 0 || runner.headingY !== 0) {
        runner.x = Math.min(Math.max(runner.x + runner.headingX, 0), FIELD);
        runner.y = Math.min(Math.max(runner.y + runner.headingY, 0), FIELD);
      }
      const x = Math.trunc(runner.x);
      const y = Math.trunc(runner.y);
      const player = runner.player;
      if (player.x !== x) player.x = x;
      if (player.y !== y) player.y = y;
      const near = this.cells.get(cellOf(x, y));
      if (near !== undefined && near.length > 0) taken = this.collect(runner, near) || taken;
    }
    if (taken) this.fill();
  }

  collect(runner, near) {
    let taken = false;
    for (const pickUp of near.slice()) {
      if ((pickUp.x - runner.x) ** 2 + (pickUp.y - runner.y) ** 2 > REACH * REACH) continue;
      this.pickUps.delete(pickUp.key);
      this.state.pickUps.delete(pickUp.key);
      for (const cell of cellsAround(pickUp)) {
        const list = this.cells.get(cell);
        list.splice(list.indexOf(pickUp), 1);
      }
      runner.player.score += pickUp.points;
      taken = true;
    }
    return taken;
  }

  fill() {
    while (this.pickUps.size < this.wanted) {
      const points = Math.floor(Math.random() * RICH_CHANCE) === 0 ? RICH_POINTS : 1;
      const pickUp = { key: String(this.nextPickUp++), x: coordinate(), y: coordinate(), points };
      this.pickUps.set(pickUp.key, pickUp);
      for (const cell of cellsAround(pickUp)) {
        const list = this.cells.get(cell);
        if (list === undefined) this.cells.set(cell, [pickUp]);
        else list.push(pickUp);
      }
      const shown = new PickUp();
      shown.x = pickUp.x;
      shown.y = pickUp.y;
      shown.points = points;
      this.state.pickUps.set(pickUp.key, shown);
    }
  }
}

function coordinate() {
  return MARGIN + Math.floor(Math.random() * (FIELD - 2 * MARGIN));
}

function cellOf(x, y) {
  return Math.floor(x / CELL) * CELLS + Math.floor(y / CELL);
}

function cellsAround(pickUp) {
  const cells = new Set();
  for (const dx of [-REACH, REACH]) {
    for (const dy of [-REACH, REACH]) cells.add(cellOf(pickUp.x + dx, pickUp.y + dy));
  }
  return cells;
}
