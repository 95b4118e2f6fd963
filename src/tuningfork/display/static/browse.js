// A browsable list of galaxies: search, filters, sorting, a grid or a list of which only the visible part exists,
// and a selection. Shared by the page of the service and by galleries.
//
// `source` describes the rows: {count, classes, flags, fields: [{key, label}], text(i), className(i), clean(i),
// flag(i), value(i, key), tile(i)}. `flag` is one of `flags` or ""; `clean` a truth; `tile` gives {image, title, notes}.
import { element } from "./dom.js";

const GAP = 6;
const TILES = { grid: { least: (room) => (room > 560 ? 132 : 92), height: (width) => width + 62 }, list: { height: () => 78 } };
let lists = 0;

export class Browser {
  /** `open(i)` shows a row, `save(rows, format)` writes rows to a file of one of `formats`. */
  constructor(place, source, { open, save, formats, view = "grid" }) {
    Object.assign(this, { source, open, save, view });
    this.order = [];
    this.selected = new Set();
    this.current = -1; // a row, not its place in the order
    this.filter = { query: "", className: "", clean: "", flag: "", field: "", low: NaN, high: NaN };
    this.sorting = { key: "", down: false };
    this.name = `browse-${++lists}`;
    this.nodes = new Map();
    this.drawing = 0;
    this.#build(place, formats);
    new ResizeObserver(() => this.draw()).observe(this.window);
    this.changed();
  }

  /** Call it after rows were added or have changed; it is done once for many calls. */
  changed() {
    this.stale = true;
    this.draw();
  }

  draw() {
    this.drawing ||= requestAnimationFrame(() => {
      this.drawing = 0;
      if (this.stale) this.#arrange();
      this.#render();
    });
  }

  /** Forget the rows: the source is empty again. */
  clear() {
    this.selected.clear();
    this.current = -1;
    this.changed();
  }

  /** Make a row the current one, which is shown. */
  choose(row, focus = false) {
    if (row === undefined || row < 0) return;
    this.current = row;
    this.#render(true);
    if (focus) this.nodes.get(row)?.focus({ preventScroll: true });
    this.open(row);
  }

  // ---------------------------------------------------------------- controls

  #build(place, formats) {
    const { source } = this;
    const search = field("Search", element("input", { type: "search", placeholder: "name or description", oninput: (event) => this.#set("query", event.target.value.trim().toLowerCase()) }));
    this.classChoice = choice("Class", [["", "any"]], (value) => this.#set("className", value));
    const clean = choice("Clean sample", [["", "any"], ["yes", "passes"], ["no", "does not pass"]], (value) => this.#set("clean", value));
    const flag = choice("Flag", [["", "any"], ["none", "no flag"], ["any", "any flag"], ...source.flags.map((name) => [name, name])], (value) => this.#set("flag", value));
    this.fieldChoice = choice("Value", [["", "any"]], (value) => this.#set("field", value));
    const bound = (end, label) => field(label, element("input", { type: "number", step: "any", inputmode: "decimal", oninput: (event) => this.#set(end, event.target.value === "" ? NaN : Number(event.target.value)) }));
    this.sortChoice = choice("Sort by", [["", "order of the table"]], (value) => this.#sort(value, this.sorting.down));
    const down = element("button", { type: "button", "aria-pressed": "false", onclick: () => {
      down.setAttribute("aria-pressed", String(!this.sorting.down));
      this.#sort(this.sorting.key, !this.sorting.down);
    } }, "Largest first");
    const shape = element("button", { type: "button", "aria-pressed": String(this.view === "list"), onclick: () => {
      this.view = this.view === "grid" ? "list" : "grid";
      shape.setAttribute("aria-pressed", String(this.view === "list"));
      this.draw();
    } }, "As a list");
    const reset = element("button", { type: "button", onclick: () => {
      for (const input of this.tools.querySelectorAll("input")) input.value = "";
      for (const input of this.tools.querySelectorAll("select")) input.value = "";
      Object.assign(this.filter, { query: "", className: "", clean: "", flag: "", field: "", low: NaN, high: NaN });
      this.#sort("", this.sorting.down);
    } }, "Reset");
    this.tools = element("div", { class: "browse-tools" },
      search,
      element("details", { class: "browse-filters" }, element("summary", {}, "Filter and sort"),
        element("div", { class: "browse-choices" }, this.classChoice.label, clean.label, flag.label, this.fieldChoice.label,
          element("span", { class: "browse-range" }, bound("low", "from"), bound("high", "to")),
          this.sortChoice.label, element("span", { class: "browse-buttons" }, down, shape, reset))));
    this.status = element("p", { class: "browse-count soft", role: "status" });
    this.plane = element("div", { class: "browse-plane", role: "presentation" });
    this.window = element("div", { class: "browse-window", role: "listbox", "aria-multiselectable": "true", "aria-label": "Galaxies; arrow keys move, Space selects" }, this.plane);
    this.window.addEventListener("scroll", () => this.draw(), { passive: true });
    this.window.addEventListener("keydown", (event) => this.#key(event));
    this.window.addEventListener("click", (event) => this.#click(event));
    const format = choice("as", formats.map((name) => [name, name]), () => {});
    format.select.setAttribute("aria-label", "File format");
    this.saver = element("button", { type: "button", onclick: () => this.save(this.chosen(), format.select.value) });
    this.all = element("button", { type: "button", onclick: () => this.#selectAll() }, "Select all");
    place.replaceChildren(this.tools, this.status, this.window,
      element("div", { class: "browse-selection" }, this.all, this.saver, format.label));
    this.describe();
  }

  /** Fill the choices of classes and numbers, when the source knows them. */
  describe() {
    const { classes, fields } = this.source;
    fill(this.classChoice.select, [["", "any"], ...classes.map((name) => [name, name])]);
    fill(this.fieldChoice.select, [["", "any"], ...fields.map(({ key, label }) => [key, label])]);
    fill(this.sortChoice.select, [["", "order of the table"], ["name", "name"], ...fields.map(({ key, label }) => [key, label])]);
  }

  /** Rows to save: those selected, else all that are shown. */
  chosen() {
    return this.selected.size ? [...this.selected].sort((a, b) => a - b) : [...this.order];
  }

  #set(key, value) {
    this.filter[key] = value;
    this.#top();
  }

  #sort(key, down) {
    this.sorting = { key, down };
    this.#top();
  }

  #top() {
    this.window.scrollTop = 0;
    this.changed();
  }

  // ---------------------------------------------------------------- which rows, in which order

  #matches(row) {
    const { source, filter } = this;
    if (filter.className && source.className(row) !== filter.className) return false;
    if (filter.clean && (filter.clean === "yes") !== source.clean(row)) return false;
    if (filter.flag) {
      const flag = source.flag(row);
      if (filter.flag === "none" ? flag : filter.flag === "any" ? !flag : flag !== filter.flag) return false;
    }
    if (filter.field) {
      const value = source.value(row, filter.field);
      if (Number.isNaN(value) || value < filter.low || value > filter.high) return false;
    }
    return !filter.query || source.text(row).toLowerCase().includes(filter.query);
  }

  #arrange() {
    this.stale = false;
    const { source, sorting } = this;
    const order = [];
    for (let row = 0; row < source.count; row++) if (this.#matches(row)) order.push(row);
    if (sorting.key === "name") {
      const { compare } = new Intl.Collator(undefined, { numeric: true });
      const names = new Map(order.map((row) => [row, source.name(row)]));
      order.sort((a, b) => compare(names.get(a), names.get(b)));
      if (sorting.down) order.reverse();
    } else if (sorting.key) {
      const values = new Map(order.map((row) => [row, source.value(row, sorting.key)]));
      // What is not known comes last, whichever way.
      order.sort((a, b) => {
        const [x, y] = [values.get(a), values.get(b)];
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a - b;
        return (sorting.down ? y - x : x - y) || a - b;
      });
    } else if (sorting.down) order.reverse();
    this.order = order;
    this.place = new Map(order.map((row, place) => [row, place]));
    for (const node of this.nodes.values()) node.remove();
    this.nodes.clear();
  }

  // ---------------------------------------------------------------- display

  #render(follow = false) {
    const { window: view, order } = this;
    const tile = TILES[this.view];
    const width = view.clientWidth - 2 * GAP;
    if (width <= 0) return;
    const across = this.view === "list" ? 1 : Math.max(2, Math.floor((width + GAP) / (tile.least(width) + GAP)));
    const wide = (width - (across - 1) * GAP) / across;
    const high = tile.height(wide);
    this.across = across;
    const step = high + GAP;
    this.step = step;
    view.classList.toggle("as-list", this.view === "list");
    this.plane.style.height = `${Math.ceil(order.length / across) * step + GAP}px`;
    const at = this.place.get(this.current);
    if (follow && at !== undefined) {
      const top = Math.floor(at / across) * step;
      if (top < view.scrollTop) view.scrollTop = top;
      else if (top + step + GAP > view.scrollTop + view.clientHeight) view.scrollTop = top + step + GAP - view.clientHeight;
    }
    const first = Math.max(0, Math.floor(view.scrollTop / step) - 2) * across;
    const last = Math.min(order.length, (Math.ceil((view.scrollTop + view.clientHeight) / step) + 2) * across);
    const wanted = new Set(order.slice(first, last));
    // The stop of the Tab key exists wherever one has scrolled to.
    const stop = at === undefined ? order[0] : this.current;
    if (stop !== undefined) wanted.add(stop);
    for (const [row, node] of this.nodes) {
      if (!wanted.has(row)) {
        node.remove();
        this.nodes.delete(row);
      }
    }
    for (const row of [...wanted].sort((a, b) => this.place.get(a) - this.place.get(b))) {
      const place = this.place.get(row);
      let node = this.nodes.get(row);
      if (!node) {
        node = this.#tile(row);
        this.nodes.set(row, node);
        this.plane.append(node);
      }
      const selected = this.selected.has(row);
      node.setAttribute("aria-selected", String(selected));
      node.setAttribute("aria-posinset", place + 1);
      node.setAttribute("aria-setsize", order.length);
      node.tabIndex = row === stop ? 0 : -1;
      if (row === this.current) node.setAttribute("aria-current", "true");
      else node.removeAttribute("aria-current");
      node.style.width = `${wide}px`;
      node.style.height = `${high}px`;
      node.style.transform = `translate(${GAP + (place % across) * (wide + GAP)}px, ${GAP + Math.floor(place / across) * step}px)`;
    }
    const total = this.source.count;
    const noun = (count) => `${count.toLocaleString("en")} ${count === 1 ? "galaxy" : "galaxies"}`;
    this.status.textContent = (order.length === total ? noun(total) : `${order.length.toLocaleString("en")} of ${noun(total)}`) +
      (this.selected.size ? `, ${this.selected.size.toLocaleString("en")} selected` : "");
    this.saver.textContent = this.selected.size ? `Save ${this.selected.size.toLocaleString("en")} selected` : `Save all ${order.length.toLocaleString("en")}`;
    this.saver.disabled = !this.chosen().length;
    this.all.textContent = this.selected.size ? "Select none" : "Select all";
  }

  #tile(row) {
    const { image, title, notes } = this.source.tile(row);
    const mark = element("span", { class: "mark", "aria-hidden": "true" });
    const words = element("span", { class: "words" }, element("b", { title }, title), ...notes.map(({ text, kind }) => element("small", { class: kind ?? null }, text)));
    const node = element("div", { class: "tile", role: "option", id: `${this.name}-${row}` }, image, words, mark);
    node.row = row;
    return node;
  }

  // ---------------------------------------------------------------- keys and clicks

  toggle(row, on = !this.selected.has(row)) {
    if (on) this.selected.add(row);
    else this.selected.delete(row);
    this.last = row;
    this.draw();
  }

  #selectAll() {
    if (this.selected.size) this.selected.clear();
    else for (const row of this.order) this.selected.add(row);
    this.draw();
  }

  #click(event) {
    const row = event.target.closest(".tile")?.row;
    if (row === undefined) return;
    if (event.shiftKey && this.place.has(this.last)) {
      const [from, to] = [this.place.get(this.last), this.place.get(row)].sort((a, b) => a - b);
      for (const each of this.order.slice(from, to + 1)) this.selected.add(each);
      this.draw();
    } else if (event.target.closest(".mark") || event.ctrlKey || event.metaKey) this.toggle(row);
    else this.choose(row, true);
  }

  #key(event) {
    const at = this.place.get(this.current) ?? 0;
    const page = Math.max(1, Math.floor(this.window.clientHeight / this.step)) * this.across;
    const last = this.order.length - 1;
    const to = {
      ArrowDown: at + this.across, ArrowUp: at - this.across, ArrowRight: at + 1, ArrowLeft: at - 1,
      PageDown: at + page, PageUp: at - page, Home: 0, End: last,
    }[event.key];
    if (event.key === " ") this.toggle(event.target.closest(".tile")?.row ?? this.current);
    else if (event.key === "Enter") this.choose(event.target.closest(".tile")?.row, true);
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) this.#selectAll();
    else if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    else if (to >= 0 && to <= last) this.choose(this.order[to], true);
    event.preventDefault();
  }
}

function field(text, input) {
  // The text of a label holds that of the options in it.
  if (!input.hasAttribute("aria-label")) input.setAttribute("aria-label", text);
  return element("label", {}, element("span", {}, text), input);
}

function choice(text, options, chosen) {
  const select = element("select", { onchange: () => chosen(select.value) });
  fill(select, options);
  return { select, label: field(text, select) };
}

function fill(select, options) {
  const { value } = select;
  select.replaceChildren(...options.map(([key, label]) => element("option", { value: key }, label)));
  if (options.some(([key]) => key === value)) select.value = value;
}
