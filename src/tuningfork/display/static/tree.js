// The decision tree of one galaxy: the most probable path as steps, the other branches collapsed.
import { element, percent, whole } from "./dom.js";

/** Bars of fractions: rows of {text, share, low, high, chosen}. */
export function bars(rows) {
  return element("div", { class: "answers" }, ...rows.map(bar));
}

function bar({ text, share, low, high, chosen }) {
  const known = low != null && high != null;
  const interval = known ? `${whole(low)}–${whole(high)} %` : "";
  const meter = element("div", {
    class: "bar",
    role: "meter",
    "aria-label": text,
    "aria-valuemin": 0,
    "aria-valuemax": 100,
    "aria-valuenow": whole(share ?? 0),
    "aria-valuetext": share == null ? "nobody would be asked" : percent(share) + (known ? `, interval ${interval}` : ""),
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

function questionRow(question, explain) {
  const reach = question.reach != null && question.reach < 0.995 && element("small", {}, `reached by ${percent(question.reach)}`);
  const chosen = question.answers.find((answer) => answer.chosen);
  const look =
    explain &&
    element(
      "button",
      {
        type: "button",
        class: "where",
        "aria-label": `Where the network looked: ${question.text} ${chosen.text}`,
        onclick: () => explain(chosen.name),
      },
      "where?",
    );
  return [
    element("p", { class: "question" }, question.text, " ", reach, look),
    bars(question.answers.map((answer) => ({ ...answer, share: answer.fraction }))),
  ];
}

/** The path as a list, and the collapsed rest; `explain(name)` shows an occlusion map for an answer. */
export function tree(galaxy, explain) {
  const path = galaxy.questions.filter((each) => each.step);
  const rest = galaxy.questions.filter((each) => !each.step);
  if (!path.length) return [];
  const level = galaxy.interval_level;
  return [
    element("h4", {}, "Most probable path down the decision tree"),
    element("ol", { class: "way" }, ...path.map((each) => element("li", {}, ...questionRow(each, explain)))),
    level != null &&
      element("p", { class: "soft" }, `Whiskers: intervals that hold all answers to a question for ${percent(level)} of galaxies.`),
    rest.length > 0 &&
      element(
        "details",
        {},
        element("summary", {}, `Other branches (${rest.length} questions)`),
        element("div", { class: "off two" }, ...rest.map((each) => element("div", {}, ...questionRow(each)))),
      ),
  ].filter(Boolean);
}
