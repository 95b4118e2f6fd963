// The page: takes pictures and positions, sends them in small parts, shows what comes back.
import { ask, send } from "./api.js";
import { byId, element } from "./dom.js";
import { show } from "./galaxy.js";
import { List } from "./list.js";

/** What one page can show; more is work for the command line. */
const MOST = 1000;
/** Pictures, and positions, in one request: small, so that the first answers come soon. */
const PART = { pictures: 8, positions: 4 };
const EXAMPLES = 8;

const about = await ask("/api/about").catch((error) => {
  trouble(error.message);
  throw error;
});
const list = new List(byId("list"), (item) => show(byId("detail"), item, about));
let result = "";
let running = null;

// ---------------------------------------------------------------- what goes in

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
  if (folders.length) trouble(`${folders.join(", ")}: a folder; open it and choose the pictures in it`);
  take(files);
});
document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length) take(files);
});

byId("examples").addEventListener("click", async () => {
  const numbers = Array.from({ length: EXAMPLES }, (_, number) => number);
  const files = numbers.map(async (number) => {
    const answer = await fetch(`/api/examples/${number}.jpg`);
    return new File([await answer.blob()], `simulated ${number + 1}.jpg`);
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
    ask(`/api/predict/positions?pictures=true&result=${result}`, {
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
    if (item.file.size > about.body_bytes) item.galaxy = lost(item, "the file is larger than this service takes");
  }
  return work(items, PART.pictures, (part, signal) =>
    send(`/api/predict?pictures=true&result=${result}`, part.map((item) => item.file), signal),
  );
}

// ---------------------------------------------------------------- the work

async function work(items, most, request) {
  if (!items.length) return;
  trouble("");
  if (list.items.length + items.length > MOST) {
    trouble(`This page shows ${MOST} galaxies at most; for more: tuningfork predict FOLDER -o votes.csv`);
    items = items.slice(0, Math.max(0, MOST - list.items.length));
  }
  for (const item of items) list.add(item);
  layout();
  // What came while another was at work waits for it.
  const before = running;
  running = (async () => {
    await before;
    await inParts(items.filter((item) => !item.galaxy), most, request);
  })();
  await running;
}

async function inParts(items, most, request) {
  const stopping = new AbortController();
  const stop = () => stopping.abort();
  byId("stop").addEventListener("click", stop);
  progress();
  for (const part of parts(items, most)) {
    let rows;
    try {
      const told = await request(part, stopping.signal);
      result = told.result;
      rows = told.rows;
    } catch (error) {
      const reason = error.name === "AbortError" ? "stopped" : error.message;
      rows = part.map((item) => lost(item, reason));
    }
    part.forEach((item, place) => {
      item.galaxy = rows[place] ?? lost(item, "it is no position");
      list.update(item);
    });
    progress();
  }
  byId("stop").removeEventListener("click", stop);
}

/** Neither too many pictures nor too many bytes at once. */
function* parts(items, most) {
  let part = [];
  let bytes = 0;
  for (const item of items) {
    const size = item.file?.size ?? 0;
    if (part.length === most || (part.length && bytes + size > about.body_bytes / 2)) {
      yield part;
      [part, bytes] = [[], 0];
    }
    part.push(item);
    bytes += size;
  }
  if (part.length) yield part;
}

function lost(item, error) {
  return { name: item.name, error, classes: [], questions: [], picture: null };
}

// ---------------------------------------------------------------- what is shown

function layout() {
  byId("results").hidden = list.items.length === 0;
  document.querySelector(".ask").classList.toggle("busy", list.items.length > 0);
  document.querySelector(".split").classList.toggle("single", list.items.length === 1);
}

function progress() {
  const all = list.items.length;
  const done = list.items.filter((item) => item.galaxy).length;
  const failed = list.items.filter((item) => item.galaxy?.error).length;
  const bar = byId("progress");
  bar.max = all;
  bar.value = done;
  bar.hidden = byId("stop").hidden = done === all;
  byId("progress-text").textContent =
    (done === all ? `${all} ${all === 1 ? "galaxy" : "galaxies"}` : `${done} of ${all}`) +
    (failed ? `, ${failed} without prediction` : "");
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
const served = (await ask("/api/models")).find((model) => model.served);
byId("model").replaceChildren(
  element("p", {}, served.description),
  element("ul", {}, ...served.limits.map((limit) => element("li", {}, limit))),
  element("p", { class: "soft" }, `Licence: ${served.licence}. ${served.attribution.join("; ")}.`),
);
// Whoever was faster than this script has chosen already.
chosen();
