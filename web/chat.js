/** What the players of a match say to each other. Enter begins and sends a line, Escape goes back to the game. */

import { byId, element } from "./dom.js";

const KEPT_LINES = 50;
const WORDS = {
  rate: "Slow down a little, then say it again.",
  empty: "There was nothing to say.",
  unavailable: "Chat is not possible at the moment.",
  offline: "Not connected; nobody heard it.",
};

export class Chat {
  #say;
  #stop = new AbortController();

  /** @param {(text: string) => boolean} say sends a line; false: there is no connection */
  constructor(say) {
    this.#say = say;
    const options = { signal: this.#stop.signal };
    byId("chat-form").addEventListener("submit", (event) => this.#onSubmit(event), options);
    byId("chat-text").addEventListener("keydown", (event) => this.#onEscape(event), options);
    addEventListener("keydown", (event) => this.#onKey(event), options);
    byId("chat-lines").replaceChildren();
    byId("chat-text").value = "";
    byId("chat-error").textContent = "";
  }

  /** Show what somebody said. Text goes into the page as text, never as markup. */
  add(name, text, colour) {
    const who = element("span", { className: "who", textContent: name });
    who.style.setProperty("--player", colour);
    const line = element("li", {});
    line.append(who, element("span", { textContent: text }));
    const lines = byId("chat-lines");
    lines.append(line);
    while (lines.children.length > KEPT_LINES) lines.firstElementChild.remove();
    lines.scrollTop = lines.scrollHeight;
  }

  /** The own last line was told to nobody. */
  unsaid(reason) {
    byId("chat-error").textContent = WORDS[reason] ?? WORDS.unavailable;
  }

  close() {
    this.#stop.abort();
    byId("chat-text").blur();
  }

  #onSubmit(event) {
    event.preventDefault();
    const field = byId("chat-text");
    const text = field.value.trim();
    byId("chat-error").textContent = "";
    if (text !== "" && !this.#say(text)) {
      this.unsaid("offline");
      return;
    }
    field.value = "";
    field.blur();
  }

  #onEscape(event) {
    if (event.key !== "Escape") return;
    // In the game it asks whether to leave.
    event.stopPropagation();
    event.target.blur();
  }

  #onKey(event) {
    if (event.key !== "Enter" || event.target.closest?.("input, button, select, textarea, dialog[open]")) return;
    event.preventDefault();
    byId("chat-text").focus();
  }
}
