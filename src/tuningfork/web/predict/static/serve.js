// The page: sends images and positions in small parts, and shows the predictions.
import { request, send } from "./api.js";
import { Browser } from "./browse.js";
import { byId, element, percent } from "./dom.js";
import { show } from "./galaxy.js";

/** Maximum number of galaxies on the page; for more there is the command line. */
const MAX_GALAXIES = 1000;
/** Images, and positions, in one request: few, so that the first predictions arrive soon. */
const PART = { images: 8, positions: 4 };
const EXAMPLES = 8;

const about = await request("/api/about").catch((error) => {
  trouble(error.message);
  throw error;
});
const items = []; // {name, file or line, options, galaxy, row}: `row` is the number of its stored row
let result = "";
let running = null;
let stopping = new AbortController(); // of all requests, those that wait for their turn too
byId("stop").addEventListener("click", () => {
  stopping.abort();
  stopping = new AbortController();
});

const flagOf = ({ galaxy }) => (galaxy?.error ? "error" : galaxy?.out_of_domain ? "out of domain" : galaxy?.warning ? "warning" : "");
const answersOf = ({ galaxy }) => (galaxy?.questions ?? []).flatMap((question) => question.answers.map((answer) => ({ ...answer, question: question.key.replaceAll("_", " ") })));
const source = {
  classes: [],
  flags: ["out of domain", "warning", "error"],
  fields: [],
  get count() {
    return items.length;
  },
  name: (at) => items[at].name,
  text: (at) => [items[at].name, items[at].galaxy?.description, items[at].galaxy?.class_name].filter(Boolean).join(" "),
  className: (at) => items[at].galaxy?.class_name ?? "",
  clean: (at) => Boolean(items[at].galaxy?.clean_class),
  flag: (at) => flagOf(items[at]),
  value(at, key) {
    const { galaxy } = items[at];
    if (!galaxy || galaxy.error) return NaN;
    if (key === "probability") return galaxy.classes[0]?.probability ?? NaN;
    if (key === "domain_score") return galaxy.domain_score ?? NaN;
    return answersOf(items[at]).find((answer) => answer.name === key)?.fraction ?? NaN;
  },
  tile(at) {
    const { name, galaxy } = items[at];
    const flag = flagOf(items[at]);
    const image = galaxy?.image
      ? element("img", { class: "picture", src: galaxy.image, alt: "", loading: "lazy" })
      : element("span", { class: galaxy?.error ? "picture none bad" : "picture none" }, galaxy?.error ? "!" : "…");
    if (!galaxy) return { image, title: name, notes: [{ text: "waiting" }] };
    if (galaxy.error) return { image, title: name, notes: [{ text: galaxy.error, kind: "failed" }] };
    const best = galaxy.classes[0];
    const verdict = best ? `${best.name} ${percent(best.probability)}` : "";
    return {
      image,
      title: galaxy.description || galaxy.class_name || galaxy.name,
      notes: [flag ? { text: flag, kind: "warned" } : { text: verdict }, { text: galaxy.name }],
    };
  },
};
const list = new Browser(byId("list"), source, {
  open: (at) => show(byId("detail"), items[at], about),
  save,
  formats: ["CSV", "VOTable", "Parquet"],
  view: "list",
});

// ---------------------------------------------------------------- input

function chosen() {
  const files = [...byId("files").files];
  byId("files").value = "";
  take(files);
}
byId("files").addEventListener("change", chosen);

for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
  const folders = items.filter((item) => item.webkitGetAsEntry?.()?.isDirectory).map((item) => item.getAsFile()?.name);
  const files = [...event.dataTransfer.files].filter((file) => !folders.includes(file.name));
  if (folders.length) trouble(`${folders.join(", ")}: a folder; open it and choose the images in it`);
  take(files);
});
document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length) take(files);
});

byId("examples").addEventListener("click", async () => {
  const numbers = Array.from({ length: EXAMPLES }, (_, number) => number);
  const files = numbers.map(async (number) => {
    const response = await fetch(`/api/examples/${number}.jpg`);
    return new File([await response.blob()], `simulated ${number + 1}.jpg`);
  });
  take(await Promise.all(files));
});

byId("sky").addEventListener("submit", (event) => {
  event.preventDefault();
  // The ends of lines are those of Python's `splitlines`, by which the service reads them.
  const lines = byId("positions").value.split(/\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/).map((line) => line.trim());
  const heading = (line, place) => place === 0 && /\b(ra|dec)/i.test(line) && !/\d/.test(line);
  const added = lines
    .filter((line) => line && !line.startsWith("#"))
    .filter((line, place) => !heading(line, place))
    .map((line) => ({ name: line, line }));
  const size = Number(byId("size").value);
  work(added, PART.positions, (part, signal) =>
    request(`/api/predict/positions?images=true&result=${result}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      // With a line of names, or the service would take a first line without digits for one, and leave out its row.
      body: JSON.stringify({ text: ["name RA Dec", ...part.map((item) => item.line)].join("\n"), size }),
      signal,
    }),
  );
});

/** What the page says of FITS images, for files that are some by their names. */
function optionsOf(file) {
  if (!/\.(fits|fit|fts|fz)(\.(gz|bz2))?$/i.test(file.name)) return "";
  const values = { stretch: byId("stretch").value, size: byId("frame").value, bands: byId("bands").value.trim() };
  return new URLSearchParams(Object.entries(values).filter(([key, value]) => value && !(key === "stretch" && value === "auto"))).toString();
}

function take(files) {
  const added = files.map((file) => ({ name: file.name, file, options: optionsOf(file) }));
  for (const item of added) {
    if (item.file.size > about.body_bytes) item.galaxy = failed(item, "the file is larger than this service accepts");
  }
  return work(added, PART.images, (part, signal) =>
    send(`/api/predict?images=true&result=${result}&${part[0].options}`, part.map((item) => item.file), signal),
  );
}

// ---------------------------------------------------------------- requests

async function work(added, size, predict) {
  if (!added.length) return;
  trouble("");
  if (items.length + added.length > MAX_GALAXIES) {
    trouble(`This page shows ${MAX_GALAXIES} galaxies at most; for more: tuningfork predict FOLDER -o votes.csv, then tuningfork gallery votes.csv -o gallery/`);
    added = added.slice(0, Math.max(0, MAX_GALAXIES - items.length));
  }
  items.push(...added);
  layout();
  if (list.current < 0) list.choose(0);
  // Requests of one action wait for those before.
  const [before, { signal }] = [running, stopping];
  running = (async () => {
    await before;
    await inParts(added.filter((item) => !item.galaxy), size, predict, signal);
  })();
  await running;
}

async function inParts(added, size, predict, signal) {
  progress();
  for (const part of parts(added, size)) {
    let rows;
    try {
      const response = await predict(part, signal);
      result = response.result;
      rows = response.rows;
      rows.forEach((_, place) => {
        if (part[place]) part[place].row = response.first + place;
      });
    } catch (error) {
      const reason = error.name === "AbortError" ? "stopped" : error.message;
      rows = part.map((item) => failed(item, reason));
    }
    part.forEach((item, place) => {
      item.galaxy = rows[place] ?? failed(item, "it is no position");
      if (items[list.current] === item) show(byId("detail"), item, about);
    });
    progress();
  }
}

/** Neither too many images nor too many bytes at once, and all with the same options. */
function* parts(added, size) {
  let part = [];
  let bytes = 0;
  for (const item of added) {
    const length = item.file?.size ?? 0;
    if (part.length === size || (part.length && (bytes + length > about.body_bytes / 2 || item.options !== part[0].options))) {
      yield part;
      [part, bytes] = [[], 0];
    }
    part.push(item);
    bytes += length;
  }
  if (part.length) yield part;
}

function failed(item, error) {
  return { name: item.name, error, classes: [], questions: [], image: null };
}

// ---------------------------------------------------------------- display

function layout() {
  const any = items.length > 0;
  byId("results").hidden = false;
  byId("example-note").hidden = any;
  document.querySelector(".bar-of-tools").hidden = !any;
  document.querySelector(".ask").classList.toggle("busy", any);
  document.querySelector(".split").classList.toggle("single", items.length < 2);
  progress();
}

function progress() {
  const all = items.length;
  const done = items.filter((item) => item.galaxy).length;
  const failures = items.filter((item) => item.galaxy?.error).length;
  const bar = byId("progress");
  bar.max = all;
  bar.value = done;
  bar.hidden = byId("stop").hidden = done === all;
  byId("progress-text").textContent =
    (done === all ? `${all} ${all === 1 ? "galaxy" : "galaxies"}` : `${done} of ${all}`) +
    (failures ? `, ${failures} without prediction` : "");
  describe();
  list.changed();
}

/** What there is to filter and sort by is known with the first prediction. */
function describe() {
  const first = source.fields.length ? null : items.find((item) => item.galaxy?.questions?.length);
  if (!first) return;
  source.fields.push(
    ...(source.classes.length ? [{ key: "probability", label: "class probability" }] : []),
    ...(first.galaxy.domain_score == null ? [] : [{ key: "domain_score", label: "domain score" }]),
    ...answersOf(first).map(({ name, question, text }) => ({ key: name, label: `${question}: ${text}` })),
  );
  list.describe();
}

/** The chosen rows as a table of the service. */
function save(rows, format) {
  const stored = rows.map((at) => items[at].row).filter((row) => row !== undefined);
  const others = rows.length - stored.length;
  trouble(others ? `${others} of ${rows.length} galaxies never reached the service, and are not in the file.` : "");
  if (!stored.length) return;
  const extension = { CSV: "csv", VOTable: "vot", Parquet: "parquet" }[format];
  element("a", { href: `/api/results/${result}.${extension}?rows=${stored.join(",")}`, download: `tuningfork.${extension}` }).click();
}

byId("clear").addEventListener("click", () => {
  byId("stop").click();
  items.length = 0;
  list.clear();
  result = "";
  trouble("");
  layout();
  example();
  byId("files").focus();
});

/** A galaxy to look at before there are any of one's own. */
async function example() {
  const galaxy = await request("/api/example").catch(() => null);
  if (!galaxy || items.length) return;
  show(byId("detail"), { name: galaxy.name, galaxy }, about);
  layout();
}

function trouble(text) {
  byId("trouble").replaceChildren(...(text ? [element("p", { class: "note bad" }, text)] : []));
}

byId("sky").hidden = !about.sky;
byId("sky-name").textContent = about.sky;
byId("about").textContent = `tuningfork ${about.version}, model ${about.model} (${about.title}), ${about.runs_on}.`;
const served = (await request("/api/models")).find((model) => model.served);
byId("model").replaceChildren(
  element("p", {}, served.description),
  element("ul", {}, ...served.limits.map((limit) => element("li", {}, limit))),
  element("p", { class: "soft" }, `Licence: ${served.licence}. ${served.attribution.join("; ")}.`),
);
source.classes.push(...served.classes, ...(served.classes.length ? ["no clean class"] : []));
list.describe();
byId("stretch").replaceChildren(...about.stretches.map((name) => element("option", { value: name }, name)));
example();
// Files that were chosen before this script was ready.
chosen();
