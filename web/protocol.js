/** The real-time protocol, version 1, as JSON (docs/protocol.md). A message is an array that begins with its type. */

export const SUBPROTOCOL = "mj1.json";

export const hello = (matchId, token, name, resume) => JSON.stringify(["hello", matchId, token, name, resume]);
export const input = (sequence, action) => JSON.stringify(["i", sequence, action]);
export const ping = (at) => JSON.stringify(["ping", at]);
export const say = (text) => JSON.stringify(["say", text]);
export const leave = () => JSON.stringify(["leave"]);

const DECODERS = {
  welcome: ([match, tick, state, sequence = 0]) => ({ match, tick, state, sequence }),
  redirect: ([url, reason = "owner"]) => ({ url, reason }),
  f: ([tick, acks, changes = null, events = []]) => ({ tick, acks, changes, events: events.map(event) }),
  full: ([tick, players, state = null, acks = [], events = []]) => ({
    tick,
    players,
    state,
    acks,
    events: events.map(event),
  }),
  ended: ([result]) => ({ result }),
  servers: ([alternates]) => ({ alternates }),
  chat: ([slot, text]) => ({ slot, text }),
  unsaid: ([reason]) => ({ reason }),
  pong: ([at]) => ({ at }),
  refused: ([code, message]) => ({ code, message }),
};

const event = ([sequence, type, payload = null]) => ({ sequence, type, payload });

/**
 * Return a server's message as an object with `type`, or null for a message of an unknown type, which the page ignores.
 */
export function decode(text) {
  const [type, ...fields] = JSON.parse(text);
  return Object.hasOwn(DECODERS, type) ? { type, ...DECODERS[type](fields) } : null;
}
