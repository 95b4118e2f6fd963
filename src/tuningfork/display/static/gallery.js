// The page of a gallery: rows packed in columns, thumbnails in sheets, one galaxy in detail beside the list.
import { Browser } from "./browse.js";
import { byId, element, percent } from "./dom.js";
import { saveTable } from "./save.js";
import { tree } from "./tree.js";

const data = JSON.parse(byId("data").textContent);
const { side, across, perSheet } = data.sheets;
const FLAGS = ["out of domain", "warning", "error"];
const STEPS = 200; // a fraction of 1; 255: not known

function bytes(text) {
  return Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
}

function packed(name) {
  return bytes(data.columns[name]);
}

const [kind, clean, probability, flags, fractions, lows, highs] = ["class", "clean", "probability", "flags", "fractions", "low", "high"].map(packed);
const descriptions = new Uint32Array(packed("description").buffer);
const extra = Object.fromEntries(Object.entries(data.extra).map(([name, text]) => [name, new Float32Array(bytes(text).buffer)]));
const answers = data.questions.flatMap((question) => question.answers);
const columnOf = Object.fromEntries(answers.map(({ name }, at) => [name, at]));
const share = (values, row, at) => {
  const value = values.length ? values[row * answers.length + at] : 255;
  return value === 255 ? null : value / STEPS;
};

const sheets = new Map();

/** Address of a sheet: a file beside the page, or a part of the page. */
function sheetAddress(number) {
  if (data.sheets.folder) return `${data.sheets.folder}/${String(number).padStart(5, "0")}.jpg`;
  if (!sheets.has(number)) {
    const blob = new Blob([bytes(byId(`sheet-${number}`).textContent)], { type: "image/jpeg" });
    sheets.set(number, URL.createObjectURL(blob));
  }
  return sheets.get(number);
}

function picture(row) {
  if (!data.has_image[row]) return element("span", { class: "picture none", title: "no image" }, "–");
  const place = element("span", { class: "picture" });
  const at = row % perSheet;
  const [x, y] = [at % across, Math.floor(at / across)];
  const last = Math.max(across - 1, 1);
  place.style.backgroundImage = `url("${sheetAddress(Math.floor(row / perSheet))}")`;
  place.style.backgroundSize = `${across * 100}%`;
  place.style.backgroundPosition = `${(100 * x) / last}% ${(100 * y) / last}%`;
  return place;
}
data.has_image = bytes(data.columns.image);

const className = (row) => (kind[row] === 255 ? "" : data.classes[kind[row]]);
const flag = (row) => (flags[row] & 4 ? "error" : flags[row] & 1 ? "out of domain" : flags[row] & 2 ? "warning" : "");
const description = (row) => data.descriptions[descriptions[row]] ?? "";
const chance = (row) => (probability[row] === 255 ? null : probability[row] / STEPS);

const source = {
  count: data.ids.length,
  classes: data.classes,
  flags: FLAGS,
  fields: [
    ...(data.classes.length ? [{ key: "probability", label: "class probability" }] : []),
    ...Object.keys(extra).map((name) => ({ key: `+${name}`, label: name })),
    ...data.questions.flatMap((question) => question.answers.map((answer) => ({ key: answer.name, label: `${question.short}: ${answer.text}` }))),
  ],
  name: (row) => data.ids[row],
  text: (row) => `${data.ids[row]} ${description(row)} ${className(row)}`,
  className,
  clean: (row) => clean[row] !== 255,
  flag,
  value(row, key) {
    if (key === "probability") return chance(row) ?? NaN;
    if (key.startsWith("+")) return extra[key.slice(1)][row];
    return share(fractions, row, columnOf[key]) ?? NaN;
  },
  tile(row) {
    const name = className(row);
    return {
      image: picture(row),
      title: description(row) || name || data.ids[row],
      notes: [
        flag(row) ? { text: flag(row), kind: flag(row) === "error" ? "failed" : "warned" } : { text: name && chance(row) != null ? `${name} ${percent(chance(row))}` : name },
        { text: data.ids[row] },
      ],
    };
  },
};

// ---------------------------------------------------------------- one galaxy

/** The questions on the path of the most frequent answers, in its order: the walk of votes/traversal.py. */
export function majorityPath(questions, shareOf) {
  if (!questions.length || questions[0].answers.every((answer) => shareOf(answer.name) == null)) return [];
  const byKey = Object.fromEntries(questions.map((question) => [question.key, question]));
  const targets = new Set(questions.flatMap((question) => question.answers.map((answer) => answer.next)));
  const best = (question) => question.answers.reduce((most, answer) => ((shareOf(answer.name) ?? -1) > (shareOf(most.name) ?? -1) ? answer : most));
  const [columns, visited] = [new Set(), []];
  questions.forEach((beginning, number) => {
    if (number && (targets.has(beginning.key) || (beginning.parent && !columns.has(beginning.parent)))) return;
    for (let question = beginning; question && !visited.includes(question); ) {
      visited.push(question);
      const chosen = best(question);
      columns.add(chosen.column);
      question = byKey[chosen.next];
    }
  });
  return visited;
}

function galaxyOf(row) {
  const shareOf = (name) => share(fractions, row, columnOf[name]);
  const path = majorityPath(data.questions, shareOf);
  const questions = data.questions.map((question) => {
    const rows = question.answers.map((answer) => ({
      ...answer, fraction: shareOf(answer.name), low: share(lows, row, columnOf[answer.name]), high: share(highs, row, columnOf[answer.name]),
    }));
    const most = rows.reduce((best, each) => ((each.fraction ?? -1) > (best.fraction ?? -1) ? each : best));
    const step = path.indexOf(question);
    return { ...question, reach: null, step: step < 0 ? null : step + 1, answers: rows.map((each) => ({ ...each, chosen: each === most })) };
  });
  return { questions: questions.sort((a, b) => (a.step ?? 999) - (b.step ?? 999)), interval_level: data.interval_level };
}

const detail = byId("detail");

function show(row) {
  const name = className(row);
  const about = name && (chance(row) == null ? name : `${name}, ${percent(chance(row))} probable`);
  const passes = clean[row] === 255 ? "passes the thresholds of no clean sample" : `clean sample: ${data.classes[clean[row]]}`;
  const numbers = Object.entries(extra).map(([key, values]) => `${key} ${Number.isNaN(values[row]) ? "–" : Number(values[row].toPrecision(5))}`);
  detail.hidden = false;
  document.body.classList.add("open");
  detail.replaceChildren(
    element("button", { type: "button", class: "close", onclick: hide, "aria-label": "Close the details" }, "×"),
    element("div", { class: "large" }, picture(row)),
    element("h2", {}, description(row) || name || data.ids[row]),
    element("p", { class: "soft" }, [data.ids[row], about, data.classes.length ? passes : "", ...numbers].filter(Boolean).join(" · ")),
    ...[data.messages[row]].filter(Boolean).map((text) => element("p", { class: flags[row] & 4 ? "note bad" : "note warn" }, text)),
    ...tree(galaxyOf(row)),
  );
  detail.scrollTop = 0;
}

function hide() {
  detail.hidden = true;
  document.body.classList.remove("open");
  browser.draw();
  browser.nodes.get(browser.current)?.focus();
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !detail.hidden) hide();
});

// ---------------------------------------------------------------- the selection as a file

function save(rows, format) {
  const number = (value) => (value == null || Number.isNaN(value) ? "" : Number(value.toPrecision(6)));
  const columns = [
    { name: "id", cell: (row) => data.ids[row] },
    { name: "description", cell: description },
    { name: "class_name", cell: className },
    { name: "clean_class", cell: (row) => (clean[row] === 255 ? "" : data.classes[clean[row]]) },
    { name: "flag", cell: flag },
    ...Object.keys(extra).map((name) => ({ name, number: true, cell: (row) => number(extra[name][row]) })),
    ...answers.map(({ name }, at) => ({ name, number: true, cell: (row) => number(share(fractions, row, at)) })),
  ];
  saveTable(rows, columns, format, "galaxies");
}

const browser = new Browser(byId("browse"), source, { open: show, save, formats: ["CSV", "VOTable"] });
document.documentElement.classList.add("ready");
