/** Calls the HTTP API for a player: account, profile and matches. A session renews its token before the expiry. */

const REQUEST_MS = 8_000;
const STORE_KEY = "arena.session";
/** Share of a token's lifetime after which the page renews the token, well before a server would refuse it. */
const RENEW_AT = 0.8;

/**
 * Reports that the API refused a request. `code` is for programs, `message` for the player. `status` is the HTTP
 * status, or 0 if the API did not answer.
 */
export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export class Session {
  #base;
  #tokens;
  #renewing = null;

  /** @param {string} base address of the API, "" for this page's origin */
  constructor(base) {
    this.#base = base.replace(/\/+$/, "");
    this.#tokens = stored();
    /** Function that the session calls when the player has to log in again. */
    this.onExpired = () => {};
  }

  get loggedIn() {
    return this.#tokens !== null;
  }

  /**
   * @returns {Promise<boolean>} true if the account can be used at once, without a confirmation of the e-mail address
   */
  async signUp(email, password, displayName) {
    const body = { email, password, display_name: displayName };
    return (await this.#call("POST", "/v1/signup", { body })).confirmed;
  }

  /** Confirm the e-mail address of a new account by the code that was sent to the address. */
  async confirm(email, code) {
    await this.#call("POST", "/v1/confirm", { body: { email, code } });
  }

  /** Ask for another code. The API gives the same answer for every address. */
  async resendCode(email) {
    await this.#call("POST", "/v1/confirm/resend", { body: { email } });
  }

  /** Ask for a code that resets the password. The API gives the same answer for every address. */
  async forgotPassword(email) {
    await this.#call("POST", "/v1/password/forgot", { body: { email } });
  }

  /** Choose a new password with the code that was sent to the address. */
  async resetPassword(email, code, password) {
    await this.#call("POST", "/v1/password/reset", { body: { email, code, password } });
  }

  /**
   * Log in. Set `remember` to keep the session after the browser is closed.
   *
   * Returns null if the player is logged in. For an account with a second factor, returns a function that completes the
   * log-in with the code of the player's authenticator app.
   */
  async logIn(email, password, remember) {
    const answer = await this.#call("POST", "/v1/login", { body: { email, password } });
    if (answer.challenge === undefined) {
      this.#keep(answer, remember);
      return null;
    }
    const { user_id, session } = answer;
    return async (code) => {
      const body = { user_id, session, code };
      this.#keep(await this.#call("POST", "/v1/login/second-factor", { body }), remember);
    };
  }

  /** Log out on this device. The page forgets the tokens also if the API does not answer. */
  logOut() {
    const refresh = this.#tokens?.refresh;
    this.#forget();
    if (refresh !== undefined) {
      this.#call("POST", "/v1/logout", { body: { refresh_token: refresh } }).catch(() => {});
    }
  }

  /** Log out on all devices of the player. */
  async logOutEverywhere() {
    await this.#authorised("POST", "/v1/logout/everywhere");
    this.#forget();
  }

  async hasSecondFactor() {
    return (await this.#authorised("GET", "/v1/second-factor")).enabled;
  }

  /** @returns {Promise<{secret: string, uri: string}>} the authenticator app's new secret, as text and as an address */
  enrolSecondFactor() {
    return this.#authorised("POST", "/v1/second-factor");
  }

  /** Switch the second factor on with the code that the authenticator app shows. */
  async verifySecondFactor(code) {
    await this.#authorised("POST", "/v1/second-factor/verify", { code });
  }

  /** Switch the second factor off. `code` is a code of the authenticator app that no log-in has used yet. */
  async removeSecondFactor(password, code) {
    await this.#authorised("POST", "/v1/second-factor/remove", { password, code });
  }

  profile() {
    return this.#authorised("GET", "/v1/profile");
  }

  async leaderboard(limit = 10) {
    return (await this.#call("GET", `/v1/leaderboard?limit=${limit}`)).entries;
  }

  /** @param {"open" | "new"} join "open" for a match with a free seat, "new" for a new match */
  createMatch(mode, join) {
    return this.#authorised("POST", "/v1/matches", { mode, join });
  }

  match(matchId) {
    return this.#authorised("GET", `/v1/matches/${encodeURIComponent(matchId)}`);
  }

  /** Return a valid access token. Set `renew` after a server has refused the current access token. */
  async accessToken({ renew = false } = {}) {
    if (this.#tokens === null) throw new ApiError(401, "logged_out", "Log in first.");
    if (renew || Date.now() >= this.#tokens.renewAt) await this.#renew();
    return this.#tokens.access;
  }

  async #authorised(method, path, body) {
    const token = await this.accessToken();
    try {
      return await this.#call(method, path, { body, token });
    } catch (error) {
      if (error.status !== 401) throw error;
      return await this.#call(method, path, { body, token: await this.accessToken({ renew: true }) });
    }
  }

  /** Renew the access token. Concurrent calls share one renewal. */
  #renew() {
    this.#renewing ??= this.#renewOnce().finally(() => {
      this.#renewing = null;
    });
    return this.#renewing;
  }

  async #renewOnce() {
    // Tabs share a remembered session. Each renewal replaces the refresh token, so use the newest token of all tabs.
    const newest = stored();
    if (this.#tokens.remembered && newest?.remembered && newest.refresh !== this.#tokens.refresh) {
      this.#tokens = newest;
      if (Date.now() < newest.renewAt) return;
    }
    const { refresh, remembered } = this.#tokens;
    try {
      const answer = await this.#call("POST", "/v1/refresh", { body: { refresh_token: refresh } });
      // A player who has logged out during the renewal stays logged out.
      if (this.#tokens !== null) this.#keep({ refresh_token: refresh, ...answer }, remembered);
    } catch (error) {
      if (error.status === 401) {
        this.#forget();
        this.onExpired();
      }
      throw error;
    }
  }

  #forget() {
    this.#tokens = null;
    for (const storage of [sessionStorage, localStorage]) storage.removeItem(STORE_KEY);
  }

  #keep(answer, remembered) {
    const renewAt = Date.now() + answer.expires_in * 1000 * RENEW_AT;
    this.#tokens = { access: answer.access_token, refresh: answer.refresh_token, renewAt, remembered };
    const storage = remembered ? localStorage : sessionStorage;
    storage.setItem(STORE_KEY, JSON.stringify(this.#tokens));
  }

  async #call(method, path, { body, token } = {}) {
    const headers = {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (token !== undefined) headers.Authorization = `Bearer ${token}`;
    let response;
    let answer;
    try {
      response = await fetch(this.#base + path, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store",
        credentials: "omit",
        signal: AbortSignal.timeout(REQUEST_MS),
      });
      answer = await response.json();
    } catch {
      const status = response?.status ?? 0;
      throw new ApiError(status, "unreachable", "The game cannot be reached. Check your connection and try again.");
    }
    if (!response.ok) throw refusal(response, answer.error ?? {});
    return answer;
  }
}

const WORDS = {
  account_exists: "There is already an account with this e-mail address. Log in instead.",
  busy: "Many players want to play right now. Try again in a few seconds.",
  identity_unavailable: "Logging in is not possible at the moment. Try again in a few seconds.",
  internal: "The server reported an error. Try again.",
  invalid_code: "The code is wrong or has expired. Check it, or use a new code.",
  invalid_credentials: "The e-mail address or the password is wrong, or the account is not confirmed yet.",
  invalid_display_name: "Choose a player name of 1 to 24 visible characters.",
  invalid_email: "This is not an e-mail address.",
  invalid_refresh_token: "Your session has ended. Log in again.",
  login_expired: "The log-in has taken too long. Log in again.",
  no_capacity: "All game servers are full at the moment. Try again in a few seconds.",
  reset_refused: "The code is wrong or has expired, or the new password is too weak or was used before.",
  unauthorized: "Your session has ended. Log in again.",
  unavailable: "This is not possible at the moment. Try again in a few seconds.",
  wrong_password: "The password is wrong.",
};

function refusal(response, { code = "", message = "" }) {
  const wait = Number(response.headers.get("Retry-After") ?? 0);
  if (code === "too_many_requests") {
    return new ApiError(response.status, code, `Too many tries. Wait ${wait || "a few"} seconds, then try again.`);
  }
  return new ApiError(response.status, code, WORDS[code] ?? sentence(message || "The request was refused"));
}

function sentence(text) {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}

function stored() {
  for (const storage of [sessionStorage, localStorage]) {
    try {
      const tokens = JSON.parse(storage.getItem(STORE_KEY));
      if (tokens?.access && tokens.refresh) return tokens;
    } catch {
      storage.removeItem(STORE_KEY);
    }
  }
  return null;
}
