// Elements from data; texts are inserted as text only, whatever a file is called.

/** An element with attributes (false and null are left out) and children, elements or texts. */
export function element(tag, attributes = {}, ...children) {
  const created = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) created.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) created.setAttribute(name, value === true ? "" : value);
  }
  created.append(...children.filter((child) => child != null && child !== false));
  return created;
}

export const byId = (id) => document.getElementById(id);

/** 0.634 → 63; 0.565 → 57, although 0.565 * 100 is less than 56.5 */
export const whole = (share) => Math.round(share * 100 + 1e-9);

/** 0.634 → "63 %" */
export const percent = (share) => (share == null ? "–" : `${whole(share)} %`);
