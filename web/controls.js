/** Reads the direction in which the player runs: from the keyboard, a thumb on the surface, or a held mouse button. */

const KEYS = {
  ArrowUp: [0, -1],
  KeyW: [0, -1],
  ArrowDown: [0, 1],
  KeyS: [0, 1],
  ArrowLeft: [-1, 0],
  KeyA: [-1, 0],
  ArrowRight: [1, 0],
  KeyD: [1, 0],
};
/**
 * Distances in CSS pixels between the thumb and the point where the thumb touched the surface. At the distance
 * STICK_RADIUS or more the player runs at full speed. At a distance of the thumb below DEAD_ZONE the player does not
 * run.
 */
const STICK_RADIUS = 44;
const DEAD_ZONE = 9;
const NEAR_MOUSE = 10;

export class Controls {
  #surface;
  #stick;
  #ownPlace;
  #pressed = new Set();
  #pointer = null;
  #stop = new AbortController();

  /**
   * @param {HTMLElement} surface the element that receives touches and the mouse.
   * @param {HTMLElement} stick the picture of a joystick that is shown at the thumb. The first child of `stick` is the
   * knob of the joystick.
   * @param {() => {x: number, y: number} | null} ownPlace returns the own player's position on the page.
   */
  constructor(surface, stick, ownPlace) {
    this.#surface = surface;
    this.#stick = stick;
    this.#ownPlace = ownPlace;
    const options = { signal: this.#stop.signal };
    addEventListener("keydown", (event) => this.#onKey(event), options);
    addEventListener("keyup", (event) => this.#pressed.delete(event.code), options);
    addEventListener("blur", () => this.release(), options);
    document.addEventListener("visibilitychange", () => this.release(), options);
    surface.addEventListener("pointerdown", (event) => this.#onDown(event), options);
    surface.addEventListener("pointermove", (event) => this.#onMove(event), options);
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
      surface.addEventListener(name, (event) => this.#onUp(event), options);
    }
  }

  /** Return the direction in which the player shall run, with each axis from -1 to 1. */
  direction() {
    if (this.#pressed.size > 0) {
      let [x, y] = [0, 0];
      for (const code of this.#pressed) {
        x += KEYS[code][0];
        y += KEYS[code][1];
      }
      return { x: Math.sign(x), y: Math.sign(y) };
    }
    if (this.#pointer === null) return { x: 0, y: 0 };
    return this.#pointer.mouse ? this.#towardsMouse() : this.#fromStick();
  }

  /** Treat all keys and pointers as released, so that the player stops. */
  release() {
    this.#pressed.clear();
    this.#pointer = null;
    this.#stick.hidden = true;
  }

  close() {
    this.release();
    this.#stop.abort();
  }

  #onKey(event) {
    if (!(event.code in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.("input, select, textarea, dialog[open]")) return;
    event.preventDefault();
    this.#pressed.add(event.code);
  }

  #onDown(event) {
    if (event.button !== 0 || this.#pointer !== null || event.target.closest("button, .chat")) return;
    event.preventDefault();
    this.#surface.setPointerCapture(event.pointerId);
    const mouse = event.pointerType === "mouse";
    const { clientX, clientY, pointerId: id } = event;
    this.#pointer = { id, mouse, startX: clientX, startY: clientY, x: clientX, y: clientY };
    if (mouse) return;
    this.#stick.hidden = false;
    this.#stick.style.translate = `${clientX}px ${clientY}px`;
    this.#moveKnob();
  }

  #onMove(event) {
    if (this.#pointer?.id !== event.pointerId) return;
    this.#pointer.x = event.clientX;
    this.#pointer.y = event.clientY;
    if (!this.#pointer.mouse) this.#moveKnob();
  }

  #onUp(event) {
    if (this.#pointer?.id !== event.pointerId) return;
    this.#pointer = null;
    this.#stick.hidden = true;
  }

  #moveKnob() {
    const { x, y } = this.#fromStick();
    this.#stick.firstElementChild.style.translate = `${x * STICK_RADIUS}px ${y * STICK_RADIUS}px`;
  }

  #fromStick() {
    const { startX, startY, x, y } = this.#pointer;
    return pull(x - startX, y - startY, DEAD_ZONE, STICK_RADIUS);
  }

  #towardsMouse() {
    const place = this.#ownPlace();
    if (place === null) return { x: 0, y: 0 };
    return pull(this.#pointer.x - place.x, this.#pointer.y - place.y, NEAR_MOUSE, NEAR_MOUSE);
  }
}

function pull(dx, dy, dead, full) {
  const length = Math.hypot(dx, dy);
  if (length < dead) return { x: 0, y: 0 };
  const strength = Math.min(1, length / full) / length;
  return { x: dx * strength, y: dy * strength };
}
