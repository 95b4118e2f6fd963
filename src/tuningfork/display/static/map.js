// What a script adds to a map of galaxies: zoom by wheel, dragging, a lasso, and a selection that is saved as a table.
import { element } from "./dom.js";
import { saveTable } from "./save.js";

const MAX_SCALE = 24;

for (const map of document.querySelectorAll(".map")) enhance(map);

function enhance(map) {
  const box = map.querySelector(".box");
  const plane = map.querySelector(".plane");
  const points = [...plane.querySelectorAll(".p")];
  const kinds = [...map.querySelectorAll("[data-name]")].map((label) => label.dataset.name);
  const selected = new Set();
  let scale = 1;

  // ---------------------------------------------------------------- zoom and drag

  function zoom(to, x = box.clientWidth / 2, y = box.clientHeight / 2) {
    to = Math.min(MAX_SCALE, Math.max(1, to));
    const [left, top] = [(box.scrollLeft + x) / scale, (box.scrollTop + y) / scale];
    scale = to;
    map.style.setProperty("--scale", scale);
    box.scrollTo(left * scale - x, top * scale - y);
  }
  box.addEventListener("wheel", (event) => {
    event.preventDefault();
    const { left, top } = box.getBoundingClientRect();
    zoom(scale * Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX - left, event.clientY - top);
  }, { passive: false });
  for (const radio of map.querySelectorAll("[name=scale]")) {
    radio.addEventListener("change", () => zoom({ x1: 1, x2: 2, x4: 4 }[radio.className]));
  }

  let drag = null;
  box.addEventListener("pointerdown", (event) => {
    if (event.button || event.target.closest(".p") || event.pointerType === "touch" && !lassoing()) return;
    drag = { x: event.clientX, y: event.clientY, left: box.scrollLeft, top: box.scrollTop, path: lassoing() ? [place(event)] : null };
    box.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  box.addEventListener("pointermove", (event) => {
    if (!drag) return;
    if (drag.path) {
      drag.path.push(place(event));
      outline.setAttribute("points", drag.path.map((each) => each.join(",")).join(" "));
    } else box.scrollTo(drag.left + drag.x - event.clientX, drag.top + drag.y - event.clientY);
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    box.addEventListener(kind, () => {
      if (drag?.path?.length > 2 && kind === "pointerup") {
        for (const point of points) {
          if (point.checkVisibility() && inside(position(point), drag.path)) selected.add(point);
        }
        show();
      }
      outline.setAttribute("points", "");
      drag = null;
    });
  }

  /** Where a pointer is, in percent of the plane. */
  function place(event) {
    const { left, top, width, height } = plane.getBoundingClientRect();
    return [(100 * (event.clientX - left)) / width, (100 * (event.clientY - top)) / height];
  }
  const position = (point) => [parseFloat(point.style.left), parseFloat(point.style.top)];

  // ---------------------------------------------------------------- selection

  const svg = (tag, attributes) => {
    const created = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) created.setAttribute(name, value);
    return created;
  };
  const outline = svg("polygon", { points: "" });
  const layer = svg("svg", { class: "lasso", viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
  layer.append(outline);
  plane.append(layer);

  const lasso = element("button", { type: "button", "aria-pressed": "false" }, "Lasso");
  const lassoing = () => lasso.getAttribute("aria-pressed") === "true";
  const clear = element("button", { type: "button" }, "Clear");
  const format = element("select", { "aria-label": "File format" }, element("option", {}, "CSV"), element("option", {}, "VOTable"));
  const save = element("button", { type: "button" });
  const status = element("span", { role: "status", class: "soft" });
  lasso.addEventListener("click", () => {
    lasso.setAttribute("aria-pressed", String(!lassoing()));
    map.classList.toggle("lassoing", lassoing());
  });
  clear.addEventListener("click", () => {
    selected.clear();
    show();
  });
  save.addEventListener("click", () => {
    const rows = points.filter((point) => selected.has(point));
    const kindOf = (point) => kinds[Number(/\bk(\d+)/.exec(point.className)[1])] ?? "";
    saveTable(rows, [
      { name: "id", cell: (point) => point.dataset.id },
      { name: "class_name", cell: kindOf },
      { name: "description", cell: (point) => point.dataset.words },
      { name: "map_x", number: true, cell: (point) => position(point)[0] },
      { name: "map_y", number: true, cell: (point) => position(point)[1] },
    ], format.value, "selection");
  });
  plane.addEventListener("keydown", (event) => {
    if (event.key !== "s" || event.ctrlKey || event.metaKey || event.altKey) return;
    const point = event.target.closest(".p");
    if (selected.has(point)) selected.delete(point);
    else selected.add(point);
    show();
  });

  function show() {
    for (const point of points) point.classList.toggle("selected", selected.has(point));
    status.textContent = selected.size ? `${selected.size} selected` : "Drag a lasso around galaxies, or press S on one.";
    save.textContent = selected.size ? `Save ${selected.size}` : "Save";
    save.disabled = clear.disabled = !selected.size;
  }
  box.before(element("div", { class: "map-tools" }, lasso, clear, save, format, status));
  map.classList.add("active");
  show();
}

/** Whether a point lies in a polygon (Jordan: an odd number of edges to its right). */
export function inside([x, y], polygon) {
  let odd = false;
  polygon.forEach(([x1, y1], at) => {
    const [x2, y2] = polygon[(at + 1) % polygon.length];
    if (y1 > y !== y2 > y && x < x1 + ((y - y1) / (y2 - y1)) * (x2 - x1)) odd = !odd;
  });
  return odd;
}
