// The labelling page: asks where this person stands, shows one question, sends one answer at a time.

const byId = (id) => document.getElementById(id);
const KEYS = "123456789abcdefghijklmnopqrstuvwxyz";
const LOOKS = [["plain"], ["closer", "near"], ["inverted", "inverted"], ["closer, inverted", "near", "inverted"]];
const RETRY_SECONDS = 3;

const remembered = {
  get name() { try { return localStorage.getItem("name") ?? "" } catch { return "" } },
  set name(value) { try { localStorage.setItem("name", value) } catch { /* a private window: asked again next time */ } },
};

let place = null; // where the person stands, as the server told it last
let waiting = false; // for the server; no second answer meanwhile
let look = 0;

// ---------------------------------------------------------------- the server

class Refused extends Error {
  constructor(status, message) { super(message); this.status = status }
}

async function ask(method, path, body) {
  const options = body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(path, { method, ...options });
  const told = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, told.error);
  return told;
}

const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

// Sends until it is stored; sent twice, it is stored once, since its key stays.
async function send(path, body) {
  for (;;) {
    try {
      const told = await ask("POST", path, body);
      note("");
      return told;
    } catch (error) {
      if (error instanceof Refused && error.status < 500) throw error;
      note("The server does not answer. Your answer is kept here and sent again; do not close the page.");
      await pause(RETRY_SECONDS);
    }
  }
}

// One step of the person: an answer, or one taken back. A refusal says why, and shows what is asked now.
async function step(path, body) {
  if (waiting) return;
  waiting = true;
  byId("ask").classList.add("waiting");
  try {
    const { labelling, person, version } = place;
    show(await send(path, { labelling, person, version, key: crypto.randomUUID?.() ?? random(), ...body }));
  } catch (error) {
    await start(place.name).catch(() => {});
    note(error.message);
  } finally {
    waiting = false;
    byId("ask").classList.remove("waiting");
  }
}

// Outside of localhost and HTTPS a browser has no randomUUID.
const random = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(16)).join("-");

async function start(name) {
  show(await send("/api/people", { name }));
  remembered.name = place.name;
}

// ---------------------------------------------------------------- what is shown

function note(text) {
  byId("note").textContent = text;
  byId("note").hidden = !text;
}

function element(tag, text, properties = {}) {
  return Object.assign(document.createElement(tag), { textContent: text }, properties);
}

function show(told) {
  const another = place?.galaxy !== told.galaxy || place.labelling !== told.labelling;
  place = told;
  const asked = told.question;
  byId("join").hidden = true;
  byId("work").hidden = !asked;
  byId("done").hidden = Boolean(asked);
  byId("foot").hidden = false;
  showProgress(told.progress);
  byId("undo").disabled = byId("undo-last").disabled = told.version === 0;
  if (!asked) {
    const { galaxies, left_out, done, votes_each } = told.progress;
    byId("why").textContent = done === galaxies - left_out
      ? `Every galaxy has been looked at by ${votes_each}. Thank you!`
      : "The others are before somebody else, or you have seen them all. Thank you!";
    byId("picture").removeAttribute("src");
    return;
  }
  if (another) {
    setLook(0);
    // Named by its labelling too: browsers keep pictures that they have seen at the same address.
    byId("picture").src = `/api/pictures/${told.galaxy}?of=${told.labelling}`;
    byId("galaxy").textContent = told.id;
  }
  byId("picture").alt = `Galaxy ${told.id}`;
  byId("given").replaceChildren(...told.given.map((each) => {
    const entry = element("li", "", { title: each.question });
    entry.append(element("span", `${each.question} `, { className: "unseen" }), element("b", each.answer));
    return entry;
  }));
  byId("question").textContent = asked.text;
  byId("answers").classList.toggle("several", asked.answers.length > 3);
  byId("answers").classList.toggle("many", asked.answers.length > 8);
  byId("answers").replaceChildren(...asked.answers.map((answer, number) => {
    const button = element("button", "", { type: "button" });
    if (KEYS[number]) {
      button.append(element("kbd", KEYS[number]));
      button.setAttribute("aria-keyshortcuts", KEYS[number]);
    }
    button.append(` ${answer.text}`);
    button.addEventListener("click", () => give(answer.key));
    return button;
  }));
}

function showProgress({ galaxies, left_out, done, votes_each, people }) {
  const all = galaxies - left_out;
  const mine = Object.entries(people).find(([name]) => name === place?.name)?.[1] ?? 0;
  const each = votes_each > 1 ? `, each by ${votes_each} people` : "";
  byId("progress").textContent = `${mine} by you; ${done} of ${all} galaxies done${each}.`;
  const others = Object.entries(people).filter(([name]) => name !== place?.name).map(([name, count]) => `${name} ${count}`);
  byId("who").textContent = others.length ? `Others: ${others.join(", ")}.` : "";
  byId("fill").style.width = `${(100 * done) / Math.max(all, 1)}%`;
  for (const [name, value] of [["min", 0], ["max", all], ["now", done]]) byId("bar").setAttribute(`aria-value${name}`, value);
}

function setLook(number) {
  look = number % LOOKS.length;
  const [name, ...classes] = LOOKS[look];
  byId("picture").className = classes.join(" ");
  byId("looks").textContent = name;
}

// ---------------------------------------------------------------- what the person does

async function give(answer) {
  if (!place?.question) return;
  const focused = byId("answers").contains(document.activeElement);
  await step("/api/answer", { galaxy: place.galaxy, question: place.question.key, answer });
  // The button is gone; whoever goes by Tab or a screen reader stands before the next question.
  if (focused) byId("question").focus();
}

const undo = () => place && place.version > 0 && step("/api/undo", {});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (document.querySelector("dialog[open]") || event.target.closest("input, textarea, select")) return;
  if (event.key === "?") return openHelp();
  if (!place) return;
  const at = KEYS.indexOf(event.key.toLowerCase());
  // The button of a dialog that has just closed may still have the focus.
  const onButton = event.target.closest("button, a, [role=region]")?.checkVisibility();
  if (event.key === "Backspace") undo();
  else if (event.key === " " && !onButton) setLook(look + 1);
  else if (at >= 0 && event.key.length === 1 && place.question?.answers[at]) give(place.question.answers[at].key);
  else return;
  event.preventDefault();
});

byId("join").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await start(byId("name").value);
  } catch (error) {
    note(error.message);
  }
});
byId("undo").addEventListener("click", undo);
byId("undo-last").addEventListener("click", undo);
byId("again").addEventListener("click", () => start(place.name).catch((error) => note(error.message)));
byId("look").addEventListener("click", () => setLook(look + 1));
byId("picture").addEventListener("click", () => setLook(look + 1));
byId("picture").addEventListener("error", async () => {
  if (!place?.galaxy) return;
  const answer = await fetch(`/api/pictures/${place.galaxy}`).catch(() => null);
  if (answer?.status !== 410) return note("The picture does not come. Reload the page to try again.");
  const { error } = await answer.json();
  await start(place.name);
  note(error);
});

// ---------------------------------------------------------------- help, results, training

function openHelp() { byId("help").showModal() }
byId("open-help").addEventListener("click", openHelp);

const percent = (value) => (value === null ? "–" : `${Math.round(100 * value)} %`);

async function showAgreement() {
  const told = await ask("GET", "/api/agreement");
  byId("questions").replaceChildren(...told.questions.map((each) => {
    const row = document.createElement("tr");
    row.append(
      element("td", each.text), element("td", each.galaxies), element("td", percent(each.raw)),
      element("td", each.alpha === null ? "–" : each.alpha.toFixed(2)),
    );
    return row;
  }));
  const people = Object.entries(told.progress.people).map(([name, count]) => `${name} ${count}`);
  byId("people").textContent = people.length ? `Galaxies by person: ${people.join(", ")}.` : "";
  byId("left-out").hidden = !told.left_out.length;
  byId("left-out").querySelector("summary").textContent = `${told.left_out.length} left out`;
  byId("left-out").querySelector("ul").replaceChildren(
    ...told.left_out.map((each) => element("li", `${each.id}: ${each.reason}`)),
  );
}

function showTraining({ state, log, model, command }) {
  byId("state").textContent = {
    none: "The model learns from all galaxies that have been finished.",
    elsewhere: "A training that was begun before this server is still at work.",
    running: `At work: ${command}`,
    done: `Done. The new model: ${model}`,
    stopped: "Stopped. The command in the log goes on with it, with --resume.",
    failed: "It ended without a model; the log says why.",
  }[state];
  byId("log").hidden = !log;
  byId("log").textContent = log ?? "";
  byId("log").scrollTop = byId("log").scrollHeight;
  byId("train").disabled = state === "running" || state === "elsewhere";
  byId("stop").hidden = state !== "running";
}

async function training(method) {
  try {
    showTraining(await ask(method, "/api/training"));
  } catch (error) {
    byId("state").textContent = error.message;
  }
}

async function watchTraining() {
  while (byId("results").open) {
    await training("GET");
    await pause(2);
  }
}

byId("open-results").addEventListener("click", async () => {
  byId("results").showModal();
  try {
    await showAgreement();
  } catch (error) {
    note(error.message);
  }
  if (!byId("training").hidden) watchTraining();
});
byId("train").addEventListener("click", () => training("POST"));
byId("stop").addEventListener("click", () => training("DELETE"));

// ---------------------------------------------------------------- begin

const about = await ask("GET", "/api/labelling");
byId("tree").textContent = `${about.folder}, ${about.tree}`;
byId("reference").textContent = about.reference;
byId("training").hidden = !about.trains;
document.title = `Label ${about.folder}`;
try {
  if (remembered.name) await start(remembered.name);
} catch (error) {
  note(error.message);
}
if (!place) {
  byId("join").hidden = false;
  byId("name").focus();
}
