// A Colyseus server with the default transport `ws`, for the comparison in docs/benchmarks.md. The Colyseus server runs
// the game only: no database, events, snapshots, tokens or metrics. Usage: node server.mjs PORT SEATS

import { createServer } from "node:http";

import { Room, Server } from "@colyseus/core";
import { WebSocketTransport } from "@colyseus/ws-transport";

import { Arena, ArenaState, TICK_RATE_HZ } from "./arena.mjs";

const [port, seats] = process.argv.slice(2).map(Number);
const INPUT = 0;
const INTERVAL_MS = 1000 / TICK_RATE_HZ;

class ArenaRoom extends Room {
  // Switch off Colyseus's patch timer. `tick` sends the patch after each step, so that no patch waits for a second
  // timer.
  patchRate = null;
  maxClients = seats;

  onCreate() {
    this.state = new ArenaState();
    this.arena = new Arena(this.state, seats);
    this.onMessage(INPUT, (client, message) => {
      const [sequence, x, y] = message;
      const fits = Number.isInteger(sequence) && x >= -1 && x <= 1 && y >= -1 && y <= 1;
      if (fits && client.userData !== undefined) this.arena.apply(client.userData, sequence, x, y);
    });
    this.due = performance.now();
    this.schedule();
  }

  // Ticks have absolute deadlines, and late ticks are skipped. Colyseus's setTimestep uses setInterval, which drifts to
  // 19.7 Hz even on an idle machine. A server that ticks at 19.7 Hz without any load would nearly fail the benchmark's
  // limit of 19.5 Hz.
  schedule() {
    const now = performance.now();
    this.due += INTERVAL_MS;
    if (this.due < now) this.due += Math.ceil((now - this.due) / INTERVAL_MS) * INTERVAL_MS;
    this.timer = setTimeout(this.tick, this.due - now);
  }

  tick = () => {
    this.arena.step();
    this.broadcastPatch();
    this.schedule();
  };

  onDispose() {
    clearTimeout(this.timer);
  }

  onJoin(client) {
    client.userData = this.arena.add(client.sessionId);
  }

  onLeave(client) {
    this.arena.remove(client.sessionId);
  }
}

const server = new Server({ transport: new WebSocketTransport({ server: createServer() }), greet: false });
server.define("arena", ArenaRoom);
await server.listen(port, "127.0.0.1", 1024);
console.error(JSON.stringify({ event: "serving", port, seats, node: process.version }));
