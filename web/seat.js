/**
 * Keeps a player's seat in a match: sends inputs, receives frames, and reconnects automatically when a server fails or
 * hands the match over.
 */

import { SUBPROTOCOL, decode, hello, input, leave, ping, say } from "./protocol.js";

const CONNECT_MS = 2_500;
/**
 * Time limit for the answer to `hello`. If the owner of the match has died, a server first waits up to 3 s for the
 * owner's lease to expire.
 */
const ANSWER_MS = 4_500;
/** Time without a message after which a server counts as dead. A live server sends at least twice a second. */
const SILENCE_MS = 1_200;
const WATCH_MS = 300;
const PING_MS = 1_000;
const RETRY_MS = 250;
/**
 * Time for which the page tries to reconnect, for example in a tunnel. A player without a connection keeps the seat
 * until the match ends.
 */
const GIVE_UP_MS = 60_000;
const TRANSIENT = new Set(["unavailable", "slow"]);
const MAX_UNSEEN = 64;

/**
 * Reports a refusal of the game server that a retry does not change. `code` is the code of the server's message
 * `refused`.
 */
export class SeatRefused extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** Reports that the page could not connect, or reconnect, to any server within the time limit. */
export class SeatLost extends Error {}

/**
 * Keeps the connection to a seat, and calls the following handlers, which are all optional.
 *
 * `onWelcome({match, tick, state, sequence, url})`: the server at `url` has seated the player, for the first time or
 * again.
 * `onFrame(frame)`, `onFull(full)`: a message `f` or `full` has arrived.
 * `onChat({slot, text})`: a player has sent a chat line.
 * `onUnsaid(reason)`: the server has rejected the player's own chat line.
 * `onLatency({network, input})`: a latency has changed. A latency is null before its first measurement.
 * `network` is the milliseconds from a `ping` to its `pong`.
 * `input` is the milliseconds from sending an input to the frame that shows the input.
 * `onInterrupted()`: the connection is lost, and the seat reconnects.
 * `onEnded(result)`: the match has ended.
 * `onFailed(SeatRefused | SeatLost | ApiError)`: the seat is lost.
 */
export class Seat {
  #ticket;
  #access;
  #handlers;
  #socket = null;
  #url = "";
  #slot = -1;
  #sequence = 0;
  #unseen = [];
  #alternates = [];
  #redirectedTo = "";
  #lastWord = 0;
  #lastPing = 0;
  #returning = false;
  #closed = false;
  #watch = 0;
  #wake = () => {};

  /**
   * @param {{matchId: string, url: string, resume?: string}} ticket
   * @param {{token: (options?: object) => Promise<string>, locate: (matchId: string) => Promise<string | null>,
   *   name: string}} access
   */
  constructor(ticket, access, handlers) {
    this.#ticket = { resume: "", ...ticket };
    this.#access = access;
    this.#handlers = handlers;
    this.latency = { network: null, input: null };
  }

  /** Connect to the seat and keep it. If no server gives the seat, `onFailed` is called. */
  async open() {
    addEventListener("online", this.#hurry);
    document.addEventListener("visibilitychange", this.#hurry);
    await this.#enter([this.#ticket.url]);
    if (!this.#closed) this.#watch = setInterval(() => this.#look(), WATCH_MS);
  }

  /** Send an action of the game's rules. Without a connection to a server the action is dropped. */
  send(action) {
    this.#sequence += 1;
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#unseen.push([this.#sequence, performance.now()]);
    if (this.#unseen.length > MAX_UNSEEN) this.#unseen.shift();
    this.#socket.send(input(this.#sequence, action));
  }

  /** Send a chat line to the players of the match, or return false without a connection to a server. */
  say(text) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(say(text));
    return true;
  }

  /** Leave the match, so that the seat becomes free. */
  leave() {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(leave());
    this.close();
  }

  /**
   * Close the connection without giving up the seat, which the player keeps until the match ends. A second call of
   * `close` does nothing.
   */
  close() {
    this.#closed = true;
    clearInterval(this.#watch);
    removeEventListener("online", this.#hurry);
    document.removeEventListener("visibilitychange", this.#hurry);
    this.#wake();
    this.#drop();
  }

  #hurry = () => {
    this.#wake();
    if (this.#watch) this.#look();
  };

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    if (socket !== null) {
      socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }

  #fail(error) {
    if (this.#closed) return;
    this.close();
    this.#handlers.onFailed?.(error);
  }

  /** Reconnect if the server has been silent for too long, because a browser may not notice a dead connection. */
  #look() {
    if (this.#returning || this.#closed) return;
    const now = performance.now();
    if (now - this.#lastWord > SILENCE_MS) {
      this.#return();
    } else if (now - this.#lastPing > PING_MS && this.#socket?.readyState === WebSocket.OPEN) {
      this.#lastPing = now;
      this.#socket.send(ping(Math.round(now * 1000)));
    }
  }

  async #return() {
    if (this.#returning || this.#closed) return;
    this.#returning = true;
    this.#drop();
    this.#unseen = [];
    this.#handlers.onInterrupted?.();
    await this.#enter([this.#redirectedTo, ...shuffled(this.#alternates), this.#url]);
    this.#returning = false;
  }

  /** Try `urls` and the addresses of redirects, one after another, until a server answers with a `welcome`. */
  async #enter(urls) {
    this.#redirectedTo = "";
    const deadline = performance.now() + GIVE_UP_MS;
    let known = [...new Set(urls.filter(Boolean))];
    let candidates = [...known];
    let renewed = false;
    while (!this.#closed) {
      if (performance.now() > deadline) {
        this.#fail(new SeatLost("No game server can be reached. Check your connection."));
        return;
      }
      if (candidates.length === 0) {
        await this.#pause(RETRY_MS);
        const located = await this.#access.locate(this.#ticket.matchId).catch(() => null);
        candidates = [...new Set([located, ...known].filter(Boolean))];
        continue;
      }
      const url = candidates.shift();
      const answer = await this.#ask(url, renewed);
      if (answer === null) continue;
      if (answer.type === "welcome") return;
      if (answer.type === "redirect" && answer.url && answer.url !== url) {
        // Two servers may each redirect to the other, until their next heartbeats make them agree on the owner of the
        // match.
        if (known.includes(answer.url)) await this.#pause(RETRY_MS / 4);
        known = [...new Set([answer.url, ...known])];
        candidates.unshift(answer.url);
      } else if (answer.type === "refused" && answer.code === "bad_token" && !renewed) {
        renewed = true;
        candidates.unshift(url);
      } else if (answer.type === "refused" && !TRANSIENT.has(answer.code)) {
        this.#fail(new SeatRefused(answer.code, answer.message));
        return;
      }
    }
  }

  /** Ask one server for the seat. Returns the server's answer, or null without an answer. */
  async #ask(url, renew) {
    let token = "";
    try {
      token = await this.#access.token({ renew });
    } catch (error) {
      // Without an access token, a player can only return to a seat, which needs the seat's resume token.
      if (!this.#ticket.resume) {
        this.#fail(error);
        return null;
      }
    }
    if (this.#closed) return null;
    return new Promise((resolve) => {
      const socket = new WebSocket(url, SUBPROTOCOL);
      const finish = (answer) => {
        clearTimeout(timer);
        if (answer?.type !== "welcome" || this.#closed) {
          socket.onopen = socket.onmessage = socket.onclose = null;
          socket.close();
        }
        resolve(answer);
      };
      let timer = setTimeout(finish, CONNECT_MS, null);
      socket.onopen = () => {
        clearTimeout(timer);
        timer = setTimeout(finish, ANSWER_MS, null);
        const { matchId, resume } = this.#ticket;
        socket.send(hello(matchId, token, this.#access.name, resume));
      };
      socket.onclose = () => finish(null);
      socket.onmessage = ({ data }) => {
        const message = decode(data);
        if (message?.type === "welcome" && !this.#closed) this.#seated(socket, url, message);
        if (["welcome", "redirect", "refused"].includes(message?.type)) finish(message);
      };
    });
  }

  #seated(socket, url, welcome) {
    this.#socket = socket;
    this.#url = url;
    this.#slot = welcome.match.slot;
    this.#ticket.resume = welcome.match.resume;
    this.#alternates = welcome.match.alternates ?? [];
    this.#sequence = Math.max(this.#sequence, welcome.sequence);
    this.#lastWord = performance.now();
    socket.onmessage = ({ data }) => this.#received(decode(data));
    socket.onclose = () => this.#return();
    this.#handlers.onWelcome?.({ ...welcome, url });
  }

  #received(message) {
    this.#lastWord = performance.now();
    switch (message?.type) {
      case "f":
        this.#seen(message.acks);
        this.#handlers.onFrame?.(message);
        break;
      case "full":
        this.#seen(message.acks);
        this.#handlers.onFull?.(message);
        break;
      case "pong":
        this.#measured("network", (performance.now() * 1000 - message.at) / 1000);
        break;
      case "chat":
        this.#handlers.onChat?.(message);
        break;
      case "unsaid":
        this.#handlers.onUnsaid?.(message.reason);
        break;
      case "servers":
        this.#alternates = message.alternates;
        break;
      case "redirect":
        this.#redirectedTo = message.url;
        break;
      case "refused":
        if (!TRANSIENT.has(message.code)) this.#fail(new SeatRefused(message.code, message.message));
        break;
      case "ended":
        this.close();
        this.#handlers.onEnded?.(message.result);
        break;
    }
  }

  /**
   * @param {number[]} acks seats and the number of their input that the frame shows, in turn: slot, sequence, slot,
   * sequence, and so on.
   */
  #seen(acks) {
    for (let index = 0; index < acks.length; index += 2) {
      if (acks[index] !== this.#slot) continue;
      while (this.#unseen.length > 0 && this.#unseen[0][0] <= acks[index + 1]) {
        const [sequence, sentAt] = this.#unseen.shift();
        if (sequence === acks[index + 1]) this.#measured("input", performance.now() - sentAt);
      }
    }
  }

  #measured(kind, milliseconds) {
    const before = this.latency[kind];
    this.latency[kind] = before === null ? milliseconds : before + 0.2 * (milliseconds - before);
    this.#handlers.onLatency?.(this.latency);
  }

  #pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function shuffled(values) {
  return values
    .map((value) => [Math.random(), value])
    .sort(([a], [b]) => a - b)
    .map(([, value]) => value);
}
