/** The security settings in the lobby: the authenticator app, and the log-out on all devices. */

import { byId } from "./dom.js";

/** Number of characters in a group of the key that the player types into the authenticator app. */
const GROUP = 4;

export class Security {
  #session;
  #busy;
  #filledIn;
  #onLoggedOut;

  /** `busy` and `filledIn` are functions of the page's forms. `onLoggedOut` is called after a log-out on all devices. */
  constructor(session, { busy, filledIn }, onLoggedOut) {
    this.#session = session;
    this.#busy = busy;
    this.#filledIn = filledIn;
    this.#onLoggedOut = onLoggedOut;
    byId("enrol-factor").onclick = () => this.#enrol();
    byId("enrolment-form").onsubmit = (event) => {
      event.preventDefault();
      this.#verify();
    };
    byId("log-out-everywhere").onclick = () => this.#logOutEverywhere();
  }

  /** Show whether a log-in needs a code of the authenticator app. */
  async load() {
    byId("enrolment-form").hidden = true;
    byId("security-error").textContent = "";
    try {
      this.#showState(await this.#session.hasSecondFactor());
    } catch {
      byId("factor-state").textContent = "The settings cannot be read at the moment.";
    }
  }

  #showState(enabled) {
    byId("factor-state").textContent = enabled
      ? "Log-ins need a code of your authenticator app."
      : "Protect your account: each log-in then needs a code of an authenticator app.";
    byId("enrol-factor").textContent = enabled ? "Change the authenticator app" : "Set up an authenticator app";
  }

  async #enrol() {
    await this.#busy(this.#card, byId("security-error"), async () => {
      const { secret, uri } = await this.#session.enrolSecondFactor();
      byId("enrolment-secret").textContent = secret.match(new RegExp(`.{1,${GROUP}}`, "g")).join(" ");
      byId("enrolment-link").href = uri;
      byId("enrolment-code").value = "";
      byId("enrolment-form").hidden = false;
    });
    byId("enrolment-code").focus();
  }

  async #verify() {
    const code = byId("enrolment-code");
    if (!this.#filledIn([code], byId("security-error"))) return;
    await this.#busy(this.#card, byId("security-error"), async () => {
      await this.#session.verifySecondFactor(code.value);
      byId("enrolment-form").hidden = true;
      byId("enrolment-secret").textContent = "";
      this.#showState(true);
    });
  }

  async #logOutEverywhere() {
    await this.#busy(this.#card, byId("security-error"), async () => {
      await this.#session.logOutEverywhere();
      this.#onLoggedOut();
    });
  }

  get #card() {
    return byId("security-title").parentElement;
  }
}
