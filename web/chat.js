/** The chat of a match's players. The key Enter starts a chat line and sends it, and Escape returns to the game. */

import { byId, element } from "./dom.js";

const KEPT_LINES = 50;
const WORDS = {
  rate: "You are sending too many messages. Wait a few seconds, then send it again.",
  empty: "The message has no visible text.",
  unavailable: "Chat is not possible at the moment.",
  offline: "Not connected. Your message was not sent.",
};

export class Chat {
  #say;
  #stop = new AbortController();

  /**
   * @param {(text: string) => boolean} say function that sends a chat line, and returns false without a connection to
   * the server
   */
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

  /** Show the chat line of a player. The line is inserted as text, never as markup. */
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

  /** Show why the player's last line was not sent to the other players. */
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
    // Hide the event of the key Escape from the page, because the page opens the dialog for leaving the match at
    // Escape.
    event.stopPropagation();
    event.target.blur();
  }

  #onKey(event) {
    if (event.key !== "Enter" || event.target.closest?.("input, button, select, textarea, dialog[open]")) return;
    event.preventDefault();
    byId("chat-text").focus();
  }
}
