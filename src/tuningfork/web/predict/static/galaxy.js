// One galaxy in full: picture, class, warnings, tree; on demand where the network looked, and similar galaxies.
import { send } from "./api.js";
import { element, percent } from "./dom.js";
import { bars, tree } from "./tree.js";

/** Fill `place` with an item {galaxy, file}; `about` says what the service has. */
export function show(place, item, about) {
  const { galaxy } = item;
  if (!galaxy) {
    place.replaceChildren(element("p", { class: "wide soft" }, `${item.name} waits for its turn.`));
    return;
  }
  if (galaxy.error) {
    place.replaceChildren(
      element("div", { class: "wide" }, element("h3", {}, galaxy.name), element("p", { class: "note bad" }, `No prediction: ${galaxy.error}`)),
    );
    return;
  }
  const said = element("p", { role: "status" });
  const frame = element("div", { class: "frame" }, element("img", { src: galaxy.picture, alt: `Galaxy ${galaxy.name}: ${galaxy.summary}` }));
  const similar = element("div");
  const look = element("button", { type: "button", "aria-pressed": "false" }, "Where it looked");

  async function where(name) {
    said.textContent = "Looking: the picture is covered 121 times …";
    try {
      const told = await send(`/api/look?about=${encodeURIComponent(name)}`, [fileOf(item)]);
      layer(frame, told);
      look.setAttribute("aria-pressed", "true");
      said.replaceChildren(...legend(told));
    } catch (error) {
      said.textContent = `Where it looked cannot be told: ${error.message}.`;
    }
  }
  look.addEventListener("click", () => {
    if (look.getAttribute("aria-pressed") === "false") return where("");
    uncover(frame);
    look.setAttribute("aria-pressed", "false");
    said.textContent = "";
  });

  const buttons = element("div", { class: "buttons" }, look);
  if (about.similar) {
    const button = element("button", { type: "button", onclick: () => neighbours(similar, said, item) }, "Similar galaxies");
    buttons.append(button);
  }
  place.replaceChildren(
    element(
      "div",
      { class: "seen" },
      element(
        "figure",
        { class: "picture" },
        frame,
        element("figcaption", {}, element("b", {}, galaxy.name), ...placeOf(galaxy)),
      ),
      buttons,
      said,
      similar,
    ),
    element("div", {}, ...verdict(galaxy), ...tree(galaxy, where)),
  );
}

function placeOf(galaxy) {
  const where = galaxy.ra == null ? "" : ` RA ${galaxy.ra.toFixed(5)}°, Dec ${galaxy.dec.toFixed(5)}°.`;
  return [where, galaxy.origin && ` ${galaxy.origin}`];
}

function verdict(galaxy) {
  const [first, ...others] = galaxy.classes;
  const parts = [];
  if (galaxy.out_of_domain) {
    const score = galaxy.domain_score.toFixed(1);
    parts.push(
      element(
        "p",
        { class: "note warn" },
        element("b", {}, "Unlike the galaxies that this model knows. "),
        `Another survey, a star, an artefact, no galaxy in the middle? Do not rely on what follows (score ${score}; 1 is the limit).`,
      ),
    );
  }
  if (galaxy.warning) parts.push(element("p", { class: "note warn" }, galaxy.warning));
  if (first) {
    const rows = [first, ...others].map((each, place) => ({ text: each.name, share: each.probability, chosen: place === 0 }));
    parts.push(
      element("div", { class: "sure" }, element("h3", {}, first.name), element("span", {}, `${percent(first.probability)} probable`)),
      element("details", {}, element("summary", {}, `All ${rows.length} classes`), bars(rows)),
    );
  }
  return parts;
}

function fileOf(item) {
  if (item.file) return item.file;
  // A position's picture came with its row, exact to the last bit.
  const bytes = Uint8Array.from(atob(item.galaxy.picture.split(",")[1]), (sign) => sign.charCodeAt(0));
  return new File([bytes], `${item.galaxy.name}.png`);
}

function layer(frame, told) {
  uncover(frame);
  // What lies outside of the window, the network does not see.
  const seen = element("div", { class: "window layer" });
  for (const side of ["left", "top", "width", "height"]) seen.style[side] = `${told[side] * 100}%`;
  const words = `Where the network looked: ${inWords(told)}`;
  frame.append(element("img", { class: "layer heat", src: told.overlay, alt: words }), seen);
}

function uncover(frame) {
  for (const each of frame.querySelectorAll(".layer")) each.remove();
}

function legend(told) {
  return [
    element("span", { class: "key for" }),
    `speaks for “${told.about}”, `,
    element("span", { class: "key against" }),
    `against it; most weight: ${inWords(told)}.`,
  ];
}

function inWords({ x, y }) {
  const near = (value) => Math.abs(value - 0.5) < 0.07;
  if (near(x) && near(y)) return "the centre";
  return [near(y) ? "" : y < 0.5 ? "above" : "below", near(x) ? "" : x < 0.5 ? "left of" : "right of"]
    .filter(Boolean)
    .join(" and ")
    .concat(" the centre");
}

async function neighbours(place, said, item) {
  said.textContent = "Searching …";
  try {
    const told = await send("/api/similar", [fileOf(item)]);
    said.textContent = `${told.neighbours.length} similar galaxies.`;
    place.replaceChildren(
      element(
        "ul",
        { class: "similar" },
        ...told.neighbours.map((each) =>
          element(
            "li",
            {},
            each.picture && element("img", { src: each.picture, alt: `Galaxy ${each.id}` }),
            element("small", {}, each.id),
            element("small", {}, `distance ${each.distance.toFixed(2)}`),
          ),
        ),
      ),
    );
  } catch (error) {
    said.textContent = `Similar galaxies cannot be told: ${error.message}.`;
  }
}
