/** Small helpers for the page. */

export function byId(id) {
  return document.getElementById(id);
}

/** @param {object} properties set on the new element, e.g. `className`, `textContent` */
export function element(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}

export function ordinal(number) {
  const endings = { one: "st", two: "nd", few: "rd", other: "th" };
  return `${number}${endings[new Intl.PluralRules("en", { type: "ordinal" }).select(number)]}`;
}

/** "3 min", "8 s" or "1 min 30 s". */
export function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  const rest = Math.round(seconds % 60);
  return [minutes && `${minutes} min`, (rest || !minutes) && `${rest} s`].filter(Boolean).join(" ");
}
