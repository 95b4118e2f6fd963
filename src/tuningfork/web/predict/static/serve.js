// The page: sends images and positions in small parts, and shows the predictions.
import { request, send } from "./api.js";
import { byId, element } from "./dom.js";
import { show } from "./galaxy.js";
import { List } from "./list.js";

/** Maximum number of galaxies on the page; for more there is the command line. */
const MAX_GALAXIES = 1000;
/** Images, and positions, in one request: few, so that the first predictions arrive soon. */
const PART = { images: 8, positions: 4 };
const EXAMPLES = 8;

const about = await request("/api/about").catch((error) => {
  trouble(error.message);
  throw error;
});
const list = new List(byId("list"), (item) => show(byId("detail"), item, about));
let result = "";
let running = null;

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
  const lines = byId("positions").value.split("\n").map((line) => line.trim());
  const heading = (line, place) => place === 0 && /\b(ra|dec)/i.test(line) && !/\d/.test(line);
  const items = lines
    .filter((line) => line && !line.startsWith("#"))
    .filter((line, place) => !heading(line, place))
    .map((line) => ({ name: line, line }));
  const size = Number(byId("size").value);
  work(items, PART.positions, (part, signal) =>
    request(`/api/predict/positions?images=true&result=${result}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ text: part.map((item) => item.line).join("\n"), size }),
      signal,
    }),
  );
});

function take(files) {
  const items = files.map((file) => ({ name: file.name, file }));
  for (const item of items) {
    if (item.file.size > about.body_bytes) item.galaxy = failed(item, "the file is larger than this service accepts");
  }
  return work(items, PART.images, (part, signal) =>
    send(`/api/predict?images=true&result=${result}`, part.map((item) => item.file), signal),
  );
}

// ---------------------------------------------------------------- requests

async function work(items, size, predict) {
  if (!items.length) return;
  trouble("");
  if (list.items.length + items.length > MAX_GALAXIES) {
    trouble(`This page shows ${MAX_GALAXIES} galaxies at most; for more: tuningfork predict FOLDER -o votes.csv`);
    items = items.slice(0, Math.max(0, MAX_GALAXIES - list.items.length));
  }
  for (const item of items) list.add(item);
  layout();
  // Requests of one action wait for those before.
  const before = running;
  running = (async () => {
    await before;
    await inParts(items.filter((item) => !item.galaxy), size, predict);
  })();
  await running;
}

async function inParts(items, size, predict) {
  const stopping = new AbortController();
  const stop = () => stopping.abort();
  byId("stop").addEventListener("click", stop);
  progress();
  for (const part of parts(items, size)) {
    let rows;
    try {
      const response = await predict(part, stopping.signal);
      result = response.result;
      rows = response.rows;
    } catch (error) {
      const reason = error.name === "AbortError" ? "stopped" : error.message;
      rows = part.map((item) => failed(item, reason));
    }
    part.forEach((item, place) => {
      item.galaxy = rows[place] ?? failed(item, "it is no position");
      list.update(item);
    });
    progress();
  }
  byId("stop").removeEventListener("click", stop);
}

/** Neither too many images nor too many bytes at once. */
function* parts(items, size) {
  let part = [];
  let bytes = 0;
  for (const item of items) {
    const length = item.file?.size ?? 0;
    if (part.length === size || (part.length && bytes + length > about.body_bytes / 2)) {
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
  byId("results").hidden = list.items.length === 0;
  document.querySelector(".ask").classList.toggle("busy", list.items.length > 0);
  document.querySelector(".split").classList.toggle("single", list.items.length === 1);
}

function progress() {
  const all = list.items.length;
  const done = list.items.filter((item) => item.galaxy).length;
  const failures = list.items.filter((item) => item.galaxy?.error).length;
  const bar = byId("progress");
  bar.max = all;
  bar.value = done;
  bar.hidden = byId("stop").hidden = done === all;
  byId("progress-text").textContent =
    (done === all ? `${all} ${all === 1 ? "galaxy" : "galaxies"}` : `${done} of ${all}`) +
    (failures ? `, ${failures} without prediction` : "");
  for (const [id, extension] of [["csv", "csv"], ["votable", "vot"]]) {
    byId(id).hidden = !result;
    byId(id).href = `/api/results/${result}.${extension}`;
  }
}

byId("clear").addEventListener("click", () => {
  byId("stop").click();
  list.clear();
  byId("detail").replaceChildren();
  result = "";
  trouble("");
  layout();
  byId("files").focus();
});

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
// Files that were chosen before this script was ready.
chosen();
