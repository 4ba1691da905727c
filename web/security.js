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
    byId("remove-factor").onclick = () => this.#showForm("removal-form", "removal-password");
    byId("removal-form").onsubmit = (event) => {
      event.preventDefault();
      this.#remove();
    };
    byId("log-out-everywhere").onclick = () => this.#logOutEverywhere();
  }

  /** Show whether a log-in needs a code of the authenticator app. */
  async load() {
    this.#showForm(null);
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
    byId("remove-factor").hidden = !enabled;
  }

  /** Show one of the card's forms with empty fields and the focus in the field `first`, or hide both for null. */
  #showForm(shown, first) {
    for (const name of ["enrolment-form", "removal-form"]) {
      byId(name).hidden = name !== shown;
      for (const field of byId(name).querySelectorAll("input")) field.value = "";
    }
    if (first !== undefined) byId(first).focus();
  }

  async #enrol() {
    await this.#busy(this.#card, byId("security-error"), async () => {
      const { secret, uri } = await this.#session.enrolSecondFactor();
      byId("enrolment-secret").textContent = secret.match(new RegExp(`.{1,${GROUP}}`, "g")).join(" ");
      byId("enrolment-link").href = uri;
      this.#showForm("enrolment-form");
    });
    byId("enrolment-code").focus();
  }

  async #verify() {
    const code = byId("enrolment-code");
    if (!this.#filledIn([code], byId("security-error"))) return;
    await this.#busy(this.#card, byId("security-error"), async () => {
      await this.#session.verifySecondFactor(code.value);
      this.#showForm(null);
      byId("enrolment-secret").textContent = "";
      this.#showState(true);
    });
  }

  async #remove() {
    const password = byId("removal-password");
    const code = byId("removal-code");
    if (!this.#filledIn([password, code], byId("security-error"))) return;
    await this.#busy(this.#card, byId("security-error"), async () => {
      await this.#session.removeSecondFactor(password.value, code.value);
      this.#showForm(null);
      this.#showState(false);
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
