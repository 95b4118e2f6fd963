// The decision tree of one galaxy: the majority's way as steps, the other branches folded away.
import { element, percent } from "./dom.js";

/** Bars of shares: rows of {text, share, low, high, chosen}. */
export function bars(rows) {
  return element("div", { class: "answers" }, ...rows.map(bar));
}

function bar({ text, share, low, high, chosen }) {
  const known = low != null && high != null;
  const interval = known ? `${Math.round(low * 100)}–${Math.round(high * 100)} %` : "";
  const meter = element("div", {
    class: "bar",
    role: "meter",
    "aria-label": text,
    "aria-valuemin": 0,
    "aria-valuemax": 100,
    "aria-valuenow": Math.round((share ?? 0) * 100),
    "aria-valuetext": share == null ? "nobody is asked" : percent(share) + (known ? `, interval ${interval}` : ""),
  });
  const fill = element("div", { class: "fill" });
  fill.style.width = `${(share ?? 0) * 100}%`;
  meter.append(fill);
  if (known) {
    const range = element("div", { class: "range" });
    range.style.left = `${low * 100}%`;
    range.style.width = `${(high - low) * 100}%`;
    meter.append(range);
  }
  return element(
    "div",
    { class: chosen ? "chosen" : null },
    element("span", { class: "text", "aria-hidden": "true" }, text),
    meter,
    element("span", { class: "number", "aria-hidden": "true" }, percent(share)),
    element("span", { class: "interval", "aria-hidden": "true" }, interval),
  );
}

function question(asked, where) {
  const share = asked.asked != null && asked.asked < 0.995 && element("small", {}, `asked of ${percent(asked.asked)}`);
  const chosen = asked.answers.find((answer) => answer.chosen);
  const look =
    where &&
    element(
      "button",
      {
        type: "button",
        class: "where",
        "aria-label": `Where the network looked: ${asked.text} ${chosen.text}`,
        onclick: () => where(chosen.name),
      },
      "where?",
    );
  return [
    element("p", { class: "question" }, asked.text, " ", share, look),
    bars(asked.answers.map((answer) => ({ ...answer, share: answer.fraction }))),
  ];
}

/** The way down as a list, and the rest under a fold; `where(name)` asks where the network looked for an answer. */
export function tree(galaxy, where) {
  const way = galaxy.questions.filter((each) => each.step);
  const rest = galaxy.questions.filter((each) => !each.step);
  if (!way.length) return [];
  const level = galaxy.interval_level;
  return [
    element("h4", {}, "The majority’s way down the decision tree"),
    element("ol", { class: "way" }, ...way.map((each) => element("li", {}, ...question(each, where)))),
    level != null &&
      element("p", { class: "soft" }, `Whiskers: intervals that hold the volunteers’ share for ${percent(level)} of galaxies.`),
    rest.length > 0 &&
      element(
        "details",
        {},
        element("summary", {}, `Other branches (${rest.length} questions)`),
        element("div", { class: "off two" }, ...rest.map((each) => element("div", {}, ...question(each)))),
      ),
  ].filter(Boolean);
}
