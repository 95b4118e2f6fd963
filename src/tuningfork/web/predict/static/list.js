// The list of galaxies: a listbox, one stop for Tab, arrow keys select.
import { element } from "./dom.js";

export class List {
  constructor(place, chosen) {
    this.place = place;
    this.chosen = chosen;
    this.items = [];
    this.rows = [];
    this.current = -1;
    place.addEventListener("keydown", (event) => this.#key(event));
    place.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.choose(this.rows.indexOf(row), true);
    });
  }

  add(item) {
    const row = element("li", { class: "row", role: "option", tabindex: "-1", "aria-selected": "false" });
    this.items.push(item);
    this.rows.push(row);
    this.place.append(row);
    this.update(item);
    if (this.current < 0) this.choose(0, false);
  }

  /** Redraw an item, after its prediction has arrived. */
  update(item) {
    const at = this.items.indexOf(item);
    // The list was cleared meanwhile.
    if (at < 0) return;
    const { galaxy } = item;
    const failed = galaxy?.error;
    const image = galaxy?.image
      ? element("img", { src: galaxy.image, alt: "", loading: "lazy" })
      : element("span", { class: failed ? "blank bad" : "blank", "aria-hidden": "true" }, failed ? "!" : "…");
    const words = !galaxy
      ? [element("b", {}, item.name), element("small", {}, "waiting")]
      : failed
        ? [element("b", {}, item.name), element("small", { class: "failed" }, failed)]
        : [
            element("b", {}, galaxy.description || galaxy.class_name || galaxy.name),
            element("small", { class: galaxy.out_of_domain ? "warned" : null }, galaxy.out_of_domain ? "out of domain" : galaxy.class_summary),
            element("small", {}, galaxy.name),
          ];
    this.rows[at].replaceChildren(image, element("span", {}, ...words));
    if (at === this.current) this.chosen(item);
  }

  choose(at, focus) {
    if (at < 0 || at >= this.rows.length) return;
    const before = this.rows[this.current];
    before?.setAttribute("aria-selected", "false");
    before?.setAttribute("tabindex", "-1");
    this.current = at;
    const row = this.rows[at];
    row.setAttribute("aria-selected", "true");
    row.setAttribute("tabindex", "0");
    if (focus) row.focus();
    this.chosen(this.items[at]);
  }

  clear() {
    this.items = [];
    this.rows = [];
    this.current = -1;
    this.place.replaceChildren();
  }

  #key(event) {
    const to = {
      ArrowDown: this.current + 1,
      ArrowRight: this.current + 1,
      ArrowUp: this.current - 1,
      ArrowLeft: this.current - 1,
      Home: 0,
      End: this.rows.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.choose(to, true);
  }
}
