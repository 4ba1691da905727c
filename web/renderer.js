/** Draws the arena on a canvas at the resolution of the screen, up to 3 pixels for each CSS pixel. */

/** Margin around the field, in field units, so that a player at the field's edge is drawn completely. */
const MARGIN = 30;
const RADIUS = 21;
const TRAIL_MS = 420;
const TRAIL_STEP_MS = 24;
const APPEAR_MS = 260;
const EFFECT_MS = 900;

const INK = "#e8edf6";
const COMMON = { core: "#7ee0d0", glow: "rgba(94, 214, 196, 0.55)" };
const RICH = { core: "#ffd479", glow: "rgba(255, 196, 92, 0.75)" };

const PALETTE = [
  "#6ea8ff",
  "#ff8fa3",
  "#8fe388",
  "#ffb86b",
  "#c79bff",
  "#5fd4e8",
  "#f5e27a",
  "#ff9de2",
  "#b9dd5c",
  "#ff7f5c",
];

/** Return the colour of a seat. Seats for which the palette has no colour get hues that the golden angle spreads. */
export function colourOf(slot) {
  return PALETTE[slot] ?? `hsl(${Math.round(slot * 137.508) % 360} 70% 72%)`;
}

export class Renderer {
  #canvas;
  #context;
  #background = null;
  #sprites = new Map();
  #trails = new Map();
  #size = 0;
  #scale = 1;
  #calm = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    new ResizeObserver(() => this.#fit()).observe(canvas);
  }

  /** Return the position on the page, in CSS pixels, of a position in the field. */
  onPage({ x, y }) {
    const box = this.#canvas.getBoundingClientRect();
    const unit = box.width / (1000 + 2 * MARGIN);
    return { x: box.left + (x + MARGIN) * unit, y: box.top + (y + MARGIN) * unit };
  }

  /** @param {import("./world.js").World} world the world to draw, after a call of `world.advance(now)`. */
  draw(world, now) {
    if (this.#size === 0) this.#fit();
    if (this.#size === 0) return;
    const context = this.#context;
    this.#scale = this.#size / (world.field + 2 * MARGIN);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.#size, this.#size);
    context.drawImage((this.#background ??= this.#paintBackground(world.field)), 0, 0);
    context.setTransform(this.#scale, 0, 0, this.#scale, MARGIN * this.#scale, MARGIN * this.#scale);
    for (const pickUp of world.pickUps.values()) this.#pickUp(pickUp, now);
    const runners = [...world.runners].filter(([, runner]) => runner.shown !== null);
    // The own player is drawn last, so that no other player covers it.
    runners.sort(([a], [b]) => (a === world.slot) - (b === world.slot));
    if (!this.#calm.matches) for (const [slot, runner] of runners) this.#trail(slot, runner, now);
    for (const [slot, runner] of runners) this.#runner(slot, runner, slot === world.slot);
    for (const [slot, runner] of runners) this.#name(runner, slot === world.slot, world.field);
    for (const effect of world.effects) this.#effect(effect, now);
    for (const slot of this.#trails.keys()) if (!world.runners.has(slot)) this.#trails.delete(slot);
  }

  #fit() {
    const size = Math.round(this.#canvas.clientWidth * Math.min(3, devicePixelRatio));
    if (size === this.#size) return;
    this.#size = size;
    this.#canvas.width = this.#canvas.height = size;
    this.#background = null;
    this.#sprites.clear();
  }

  #paintBackground(field) {
    const layer = layerOf(this.#size);
    const context = layer.getContext("2d");
    context.setTransform(this.#scale, 0, 0, this.#scale, MARGIN * this.#scale, MARGIN * this.#scale);
    const edge = new Path2D();
    edge.roundRect(4 - MARGIN, 4 - MARGIN, field + 2 * MARGIN - 8, field + 2 * MARGIN - 8, 34);
    const light = context.createRadialGradient(field / 2, field * 0.42, 0, field / 2, field / 2, field * 0.78);
    light.addColorStop(0, "#1b2843");
    light.addColorStop(1, "#0f1728");
    context.fillStyle = light;
    context.fill(edge);
    context.fillStyle = "rgba(148, 170, 214, 0.17)";
    for (let x = 50; x < field; x += 50) {
      for (let y = 50; y < field; y += 50) {
        context.beginPath();
        context.arc(x, y, 1.6, 0, 2 * Math.PI);
        context.fill();
      }
    }
    context.lineWidth = 2.5;
    context.strokeStyle = "rgba(122, 150, 206, 0.5)";
    context.stroke(edge);
    return layer;
  }

  /** Return the picture of a soft round light, which is painted once for each colour and size. */
  #glow(colour, radius) {
    const key = `${colour} ${radius}`;
    let sprite = this.#sprites.get(key);
    if (sprite === undefined) {
      const size = Math.max(2, Math.ceil(2 * radius * this.#scale));
      sprite = layerOf(size);
      const context = sprite.getContext("2d");
      const light = context.createRadialGradient(size / 2, size / 2, 0, size / 2, size / 2, size / 2);
      light.addColorStop(0, colour);
      light.addColorStop(1, "transparent");
      context.fillStyle = light;
      context.fillRect(0, 0, size, size);
      this.#sprites.set(key, sprite);
    }
    return sprite;
  }

  #shine(colour, radius, x, y, strength) {
    const context = this.#context;
    context.globalAlpha = strength;
    context.drawImage(this.#glow(colour, radius), x - radius, y - radius, 2 * radius, 2 * radius);
    context.globalAlpha = 1;
  }

  #pickUp({ x, y, points, since }, now) {
    const context = this.#context;
    const rich = points > 1;
    const { core, glow } = rich ? RICH : COMMON;
    const age = this.#calm.matches ? APPEAR_MS : now - since;
    // The age of a pick-up is negative if its frame arrived after `now`.
    const grown = Math.min(1, Math.max(0, age / APPEAR_MS));
    const breath = this.#calm.matches ? 0.8 : 0.8 + 0.2 * Math.sin(now / (rich ? 260 : 620) + x + y);
    this.#shine(glow, rich ? 46 : 28, x, y, breath * grown);
    const radius = (rich ? 14 : 9) * (2 - grown) * grown;
    context.fillStyle = core;
    context.beginPath();
    if (rich) {
      // A pick-up of several points has the shape of a diamond, so that its value does not depend on colour alone.
      context.moveTo(x, y - radius * 1.2);
      context.lineTo(x + radius, y);
      context.lineTo(x, y + radius * 1.2);
      context.lineTo(x - radius, y);
      context.closePath();
    } else {
      context.arc(x, y, radius, 0, 2 * Math.PI);
    }
    context.fill();
  }

  #trail(slot, { shown }, now) {
    let trail = this.#trails.get(slot);
    if (trail === undefined) this.#trails.set(slot, (trail = []));
    if (trail.length === 0 || now - trail.at(-1).at >= TRAIL_STEP_MS) trail.push({ ...shown, at: now });
    while (trail.length > 0 && now - trail[0].at > TRAIL_MS) trail.shift();
    const context = this.#context;
    context.fillStyle = colourOf(slot);
    for (const { x, y, at } of trail) {
      const left = 1 - (now - at) / TRAIL_MS;
      context.globalAlpha = 0.13 * left;
      context.beginPath();
      context.arc(x, y, RADIUS * (0.35 + 0.6 * left), 0, 2 * Math.PI);
      context.fill();
    }
    context.globalAlpha = 1;
  }

  #runner(slot, { shown: { x, y }, name, connected }, own) {
    const context = this.#context;
    const colour = colourOf(slot);
    context.globalAlpha = connected ? 1 : 0.4;
    if (connected) this.#shine(colour, RADIUS * 2.4, x, y, own ? 0.5 : 0.28);
    context.beginPath();
    context.arc(x, y, RADIUS, 0, 2 * Math.PI);
    context.fillStyle = colour;
    context.fill();
    if (own) {
      context.lineWidth = 4;
      context.strokeStyle = "#ffffff";
      context.stroke();
    }
    context.fillStyle = "#0b101b";
    context.font = `700 ${RADIUS * 1.05}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(initial(name), x, y + 1);
    context.globalAlpha = 1;
  }

  #name({ shown: { x, y }, name, connected }, own, field) {
    const context = this.#context;
    // The size of the font keeps names readable on a phone, where a unit of the field is a third of a CSS pixel.
    const size = Math.max(17, (11.5 * Math.min(3, devicePixelRatio)) / this.#scale);
    const below = y + RADIUS + size * 0.95;
    const above = y - RADIUS - size * 0.75;
    context.font = `600 ${size}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.globalAlpha = connected ? 1 : 0.5;
    context.lineWidth = size / 4;
    context.lineJoin = "round";
    context.strokeStyle = "rgba(8, 12, 20, 0.85)";
    context.fillStyle = own ? "#ffffff" : "#c7d1e3";
    const half = context.measureText(name).width / 2;
    const at = Math.min(field - half, Math.max(half, x));
    const line = below < field ? below : above;
    context.strokeText(name, at, line);
    context.fillText(name, at, line);
    context.globalAlpha = 1;
  }

  #effect({ x, y, points, slot, at }, now) {
    const context = this.#context;
    const age = Math.max(0, (now - at) / EFFECT_MS);
    const colour = slot === -1 ? INK : colourOf(slot);
    context.globalAlpha = Math.max(0, 1 - age);
    if (!this.#calm.matches) {
      context.beginPath();
      context.arc(x, y, 12 + 44 * Math.sqrt(age), 0, 2 * Math.PI);
      context.lineWidth = 4 * (1 - age);
      context.strokeStyle = colour;
      context.stroke();
    }
    context.font = "700 26px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillStyle = colour;
    context.fillText(`+${points}`, x, y - 34 - (this.#calm.matches ? 0 : 26 * age));
    context.globalAlpha = 1;
  }
}

function layerOf(size) {
  const layer = document.createElement("canvas");
  layer.width = layer.height = size;
  return layer;
}

function initial(name) {
  const [first = ""] = name;
  return first.toUpperCase();
}
