// Details of one galaxy: image, class, warnings, tree; on demand an occlusion map and similar galaxies.
import { send } from "./api.js";
import { element, percent } from "./dom.js";
import { bars, tree } from "./tree.js";

/** Fill `place` with an item {galaxy, file}; `about` has the features of the service. */
export function show(place, item, about) {
  const { galaxy } = item;
  if (!galaxy) {
    place.replaceChildren(element("p", { class: "wide soft" }, `${item.name} is waiting.`));
    return;
  }
  if (galaxy.error) {
    place.replaceChildren(
      element("div", { class: "wide" }, element("h3", {}, galaxy.name), element("p", { class: "note bad" }, `No prediction: ${galaxy.error}`)),
    );
    return;
  }
  const status = element("p", { role: "status" });
  const frame = element("div", { class: "frame" }, element("img", { src: galaxy.image, alt: `Galaxy ${galaxy.name}: ${galaxy.summary}` }));
  const similar = element("div");
  const look = element("button", { type: "button", "aria-pressed": "false" }, "Where it looked");

  async function explain(name) {
    status.textContent = "Computing: the image is covered 121 times …";
    try {
      const map = await send(`/api/occlusion?about=${encodeURIComponent(name)}&${item.options ?? ""}`, [fileOf(item)]);
      showLayer(frame, map);
      look.setAttribute("aria-pressed", "true");
      status.replaceChildren(...legend(map));
    } catch (error) {
      status.textContent = `No occlusion map: ${error.message}.`;
    }
  }
  look.addEventListener("click", () => {
    if (look.getAttribute("aria-pressed") === "false") return explain("");
    removeLayers(frame);
    look.setAttribute("aria-pressed", "false");
    status.textContent = "";
  });

  const buttons = element("div", { class: "buttons" }, look);
  if (about.similar) {
    const button = element("button", { type: "button", onclick: () => neighbours(similar, status, item) }, "Similar galaxies");
    buttons.append(button);
  }
  place.replaceChildren(
    element(
      "div",
      { class: "view" },
      element(
        "figure",
        { class: "image" },
        frame,
        element("figcaption", {}, element("b", {}, galaxy.name), ...positionOf(galaxy)),
      ),
      buttons,
      status,
      similar,
    ),
    element("div", {}, ...verdict(galaxy), ...tree(galaxy, explain)),
  );
}

function positionOf(galaxy) {
  const position = galaxy.ra == null ? "" : ` RA ${galaxy.ra.toFixed(5)}°, Dec ${galaxy.dec.toFixed(5)}°.`;
  return [position, galaxy.origin && ` ${galaxy.origin}`];
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
        element("b", {}, "Out of domain: unlike the galaxies that this model was trained on. "),
        `Another survey, a star, an artefact, no galaxy in the centre? Do not rely on this prediction (score ${score}; the limit is 1).`,
      ),
    );
  }
  if (galaxy.warning) parts.push(element("p", { class: "note warn" }, galaxy.warning));
  const name = galaxy.description || first?.name;
  if (name) parts.push(element("h3", {}, name));
  if (first) {
    const rows = [first, ...others].map((each, place) => ({ text: each.name, share: each.probability, chosen: place === 0 }));
    const also = galaxy.clean_class === galaxy.class_name ? "" : ` of ${galaxy.clean_class}`;
    const clean = galaxy.clean_class && element("span", { class: "clean" }, `votes pass the thresholds${also}`);
    parts.push(
      element("p", { class: "headline" }, galaxy.class_summary, " ", clean),
      element("details", {}, element("summary", {}, `Probabilities of all ${rows.length} classes`), bars(rows)),
    );
  }
  return parts;
}

function fileOf(item) {
  if (item.file) return item.file;
  // The image of a position came with its row, as a lossless PNG.
  const bytes = Uint8Array.from(atob(item.galaxy.image.split(",")[1]), (sign) => sign.charCodeAt(0));
  return new File([bytes], `${item.galaxy.name}.png`);
}

function showLayer(frame, map) {
  removeLayers(frame);
  // The network does not see what is outside of the window.
  const crop = element("div", { class: "window layer" });
  for (const side of ["left", "top", "width", "height"]) crop.style[side] = `${map[side] * 100}%`;
  const words = `Where the network looked: ${inWords(map)}`;
  frame.append(element("img", { class: "layer heat", src: map.overlay, alt: words }), crop);
}

function removeLayers(frame) {
  for (const each of frame.querySelectorAll(".layer")) each.remove();
}

function legend(map) {
  return [
    element("span", { class: "key for" }),
    `evidence for “${map.about}”, `,
    element("span", { class: "key against" }),
    `against it; strongest: ${inWords(map)}.`,
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

async function neighbours(place, status, item) {
  status.textContent = "Searching …";
  try {
    const result = await send(`/api/similar?${item.options ?? ""}`, [fileOf(item)]);
    status.textContent = `${result.neighbours.length} similar galaxies.`;
    place.replaceChildren(
      element(
        "ul",
        { class: "similar" },
        ...result.neighbours.map((each) =>
          element(
            "li",
            {},
            each.image && element("img", { src: each.image, alt: `Galaxy ${each.id}` }),
            element("small", {}, each.id),
            element("small", {}, `distance ${each.distance.toFixed(2)}`),
          ),
        ),
      ),
    );
  } catch (error) {
    status.textContent = `No similar galaxies: ${error.message}.`;
  }
}
