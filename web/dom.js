/** Helper functions for elements, addresses and numbers of the page. */

export function byId(id) {
  return document.getElementById(id);
}

/** @param {object} properties properties of the new element, for example `className` and `textContent` */
export function element(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}

const MATCH_ID = /^[0-9A-Za-z_-]{1,64}$/;

/** Return the address of this page with which another player joins the match. */
export function inviteLink(matchId) {
  return `${location.origin}${location.pathname}#match=${matchId}`;
}

/**
 * Return the id of the match in this page's address, or null, and remove the id from the address. If the id of the
 * match stayed in the page's address, a reload of the page would join the match again.
 */
export function takeInvitation() {
  const matchId = new URLSearchParams(location.hash.slice(1)).get("match");
  if (matchId === null) return null;
  history.replaceState(null, "", location.pathname + location.search);
  return MATCH_ID.test(matchId) ? matchId : null;
}

export function ordinal(number) {
  const endings = { one: "st", two: "nd", few: "rd", other: "th" };
  return `${number}${endings[new Intl.PluralRules("en", { type: "ordinal" }).select(number)]}`;
}

/** Return a duration as text: "3 min", "8 s" or "1 min 30 s". */
export function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  const rest = Math.round(seconds % 60);
  return [minutes && `${minutes} min`, (rest || !minutes) && `${rest} s`].filter(Boolean).join(" ");
}
