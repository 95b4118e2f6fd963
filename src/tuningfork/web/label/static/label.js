// The labelling page: gets the state of this labeller, shows one question, sends one answer at a time.

import { byId, element, percent } from "./dom.js";
import { bars } from "./tree.js";

const KEYS = "123456789abcdefghijklmnopqrstuvwxyz";
const LOOKS = [["plain"], ["closer", "near"], ["inverted", "inverted"], ["closer, inverted", "near", "inverted"]];
const RETRY_SECONDS = 3;

const remembered = {
  get name() { try { return localStorage.getItem("name") ?? "" } catch { return "" } },
  set name(value) { try { localStorage.setItem("name", value) } catch { /* a private window: the name is asked for again next time */ } },
};

let state = null; // of the labeller, from the last response
let waiting = false; // for the server; no second answer meanwhile
let look = 0; // index of LOOKS

// ---------------------------------------------------------------- the server

class RequestError extends Error {
  constructor(status, message) { super(message); this.status = status }
}

async function request(method, path, body) {
  const options = body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(path, { method, ...options });
  const content = await response.json();
  if (!response.ok) throw new RequestError(response.status, content.error);
  return content;
}

const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

// Retries until it is stored; sent twice, it is stored once, since its key is the same.
async function send(path, body) {
  for (;;) {
    try {
      const content = await request("POST", path, body);
      note("");
      return content;
    } catch (error) {
      if (error instanceof RequestError && error.status < 500) throw error;
      note("The server does not respond. Your answer is kept here and sent again; do not close the page.");
      await pause(RETRY_SECONDS);
    }
  }
}

// One step of the labeller: an answer, or an undo. If it is refused, the reason and the next question are shown.
async function step(path, body) {
  if (waiting) return;
  waiting = true;
  byId("ask").classList.add("waiting");
  try {
    const { campaign, person, version } = state;
    show(await send(path, { campaign, person, version, key: crypto.randomUUID?.() ?? random(), ...body }));
  } catch (error) {
    await start(state.name).catch(() => {});
    note(error.message);
  } finally {
    waiting = false;
    byId("ask").classList.remove("waiting");
  }
}

// Without localhost or HTTPS a browser has no randomUUID.
const random = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(16)).join("-");

async function start(name) {
  show(await send("/api/people", { name }));
  remembered.name = state.name;
}

// ---------------------------------------------------------------- display

const notes = { answer: "", image: "" };

// What is said of an answer that is not stored yet comes before what is said of an image.
function note(text, about = "answer") {
  notes[about] = text;
  byId("note").textContent = notes.answer || notes.image;
  byId("note").hidden = !byId("note").textContent;
}

function show(next) {
  const isNewGalaxy = state?.galaxy !== next.galaxy || state.campaign !== next.campaign;
  state = next;
  const question = next.question;
  byId("join").hidden = true;
  byId("work").hidden = !question;
  byId("done").hidden = Boolean(question);
  byId("foot").hidden = false;
  showProgress(next.progress);
  byId("undo").disabled = byId("undo-last").disabled = next.version === 0;
  if (!question) {
    const { galaxies, left_out, done, votes_each } = next.progress;
    byId("why").textContent = done === galaxies - left_out
      ? `Every galaxy has been labelled by ${votes_each} ${votes_each === 1 ? "person" : "people"}. Thank you!`
      : "The others are assigned to other people, or you have labelled them all. Thank you!";
    byId("image").removeAttribute("src");
    return;
  }
  if (isNewGalaxy) {
    setLook(0);
    loadImage();
    byId("galaxy").textContent = next.id;
  }
  byId("image").alt = `Galaxy ${next.id}`;
  byId("previous").replaceChildren(...next.previous.map((each) => {
    const entry = element("li", { title: each.question });
    entry.append(element("span", { class: "unseen" }, `${each.question} `), element("b", {}, each.answer));
    return entry;
  }));
  byId("question").textContent = question.text;
  byId("question-help").textContent = question.help;
  byId("answers").classList.toggle("pictured", question.answers.some((answer) => answer.example));
  byId("answers").classList.toggle("several", question.answers.length > 3);
  byId("answers").classList.toggle("many", question.answers.length > 8);
  byId("answers").replaceChildren(...question.answers.map((answer, number) => {
    const button = element("button", { type: "button" });
    if (KEYS[number]) {
      button.append(element("kbd", {}, KEYS[number]));
      button.setAttribute("aria-keyshortcuts", KEYS[number]);
    }
    if (answer.help) button.title = answer.help;
    if (answer.example) button.prepend(element("img", { src: answer.example, alt: "", width: 144, height: 144 }));
    button.append(element("span", {}, ` ${answer.text}`));
    button.addEventListener("click", () => answerWith(answer.key));
    return button;
  }));
}

function showProgress({ galaxies, left_out, done, votes_each, people }) {
  const all = galaxies - left_out;
  const mine = Object.entries(people).find(([name]) => name === state?.name)?.[1] ?? 0;
  const each = votes_each > 1 ? `, each by ${votes_each} people` : "";
  byId("progress").textContent = `${mine} by you; ${done} of ${all} galaxies done${each}.`;
  const others = Object.entries(people).filter(([name]) => name !== state?.name).map(([name, count]) => `${name} ${count}`);
  byId("who").textContent = others.length ? `Others: ${others.join(", ")}.` : "";
  byId("fill").style.width = `${(100 * done) / Math.max(all, 1)}%`;
  for (const [name, value] of [["min", 0], ["max", all], ["now", done]]) byId("bar").setAttribute(`aria-value${name}`, value);
}

// Named by its campaign too: browsers cache images of the same address.
function loadImage() {
  byId("image").src = `/api/images/${state.galaxy}?of=${state.campaign}&at=${Date.now()}`;
}

function setLook(number) {
  look = number % LOOKS.length;
  const [name, ...classes] = LOOKS[look];
  byId("image").className = classes.join(" ");
  byId("looks").textContent = name;
}

// ---------------------------------------------------------------- actions

async function answerWith(answer) {
  if (!state?.question) return;
  const focused = byId("answers").contains(document.activeElement);
  await step("/api/answer", { galaxy: state.galaxy, question: state.question.key, answer });
  // The button is gone; users of Tab or a screen reader continue at the next question.
  if (focused) byId("question").focus();
}

const undo = () => state && state.version > 0 && step("/api/undo", {});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (document.querySelector("dialog[open]") || event.target.closest("input, textarea, select")) return;
  if (event.key === "?") return openHelp();
  if (!state) return;
  const at = KEYS.indexOf(event.key.toLowerCase());
  // The button of a dialog that has just closed may still have the focus.
  const onButton = event.target.closest("button, a, [role=region]")?.checkVisibility();
  if (event.key === "Backspace") undo();
  else if (event.key === " " && !onButton) setLook(look + 1);
  else if (at >= 0 && event.key.length === 1 && state.question?.answers[at]) answerWith(state.question.answers[at].key);
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
byId("again").addEventListener("click", () => start(state.name).catch((error) => note(error.message)));
byId("look").addEventListener("click", () => setLook(look + 1));
byId("image").addEventListener("click", () => setLook(look + 1));
byId("image").addEventListener("load", () => {
  note("", "image");
});
byId("image").addEventListener("error", async () => {
  const galaxy = state?.galaxy;
  if (!galaxy) return;
  const response = await fetch(`/api/images/${galaxy}`).catch(() => null);
  if (response?.status === 410) {
    const { error } = await response.json();
    await start(state.name).catch(() => {});
    return note(error);
  }
  // The machine is busy, or the server is away: the image itself may be good.
  note("The image cannot be loaded at the moment; it is tried again.", "image");
  await pause(RETRY_SECONDS);
  if (state.galaxy === galaxy) loadImage();
});

// ---------------------------------------------------------------- help, results, training

function openHelp() { byId("help").showModal() }
byId("open-help").addEventListener("click", openHelp);

async function showResults() {
  const result = await request("GET", "/api/agreement");
  const people = Object.keys(result.progress.people).length;
  const galaxies = `${result.galaxies} ${result.galaxies === 1 ? "galaxy has" : "galaxies have"}`;
  byId("so-far").textContent = result.galaxies ? `${galaxies} been labelled, by ${people} ${people === 1 ? "person" : "people"}.` : "No galaxy has been finished yet.";
  byId("counts").replaceChildren(...result.answers.filter((question) => question.answers.some((answer) => answer.count)).flatMap((question) => {
    const all = question.answers.reduce((sum, answer) => sum + answer.count, 0);
    const most = Math.max(...question.answers.map((answer) => answer.count));
    return [
      element("h3", {}, question.text, " ", element("small", {}, all === 1 ? "1 answer" : `${all} answers`)),
      bars(question.answers.map(({ text, count }) => ({ text, share: count / all, chosen: count === most }))),
    ];
  }));
  // With one labeller there is nobody to agree with.
  byId("agreement").hidden = !result.questions.some((each) => each.galaxies > 0);
  byId("questions").replaceChildren(...result.questions.filter((each) => each.galaxies > 0).map((each) =>
    element("tr", {},
      element("td", {}, each.text), element("td", {}, each.galaxies), element("td", {}, percent(each.raw)),
      element("td", {}, each.alpha === null ? "–" : each.alpha.toFixed(2)))));
  const each = Object.entries(result.progress.people).map(([name, count]) => `${name} ${count}`);
  byId("people").textContent = each.length ? `Galaxies by person: ${each.join(", ")}.` : "";
  byId("left-out").hidden = !result.left_out.length;
  byId("left-out").querySelector("summary").textContent = `${result.left_out.length} left out`;
  byId("left-out").querySelector("ul").replaceChildren(
    ...result.left_out.map((each) => element("li", {}, `${each.id}: ${each.reason}`)),
  );
}

function showTraining({ state, log, model, command }) {
  byId("state").textContent = {
    none: "The model is trained on all galaxies that have been finished.",
    elsewhere: "A training that was started before this server is still running.",
    running: `Running: ${command}`,
    done: `Done. The new model: ${model}`,
    stopped: "Stopped. The command in the log continues it, with --resume.",
    failed: "It ended without a model; see the log.",
  }[state];
  byId("log").hidden = !log;
  byId("log").textContent = log ?? "";
  byId("log").scrollTop = byId("log").scrollHeight;
  byId("train").disabled = state === "running" || state === "elsewhere";
  byId("stop").hidden = state !== "running";
}

async function training(method) {
  try {
    showTraining(await request(method, "/api/training"));
  } catch (error) {
    byId("state").textContent = error.message;
  }
}

let watching = false; // once, even if the dialog is closed and opened again between two requests

async function watchTraining() {
  if (watching) return;
  watching = true;
  while (byId("results").open) {
    await training("GET");
    await pause(2);
  }
  watching = false;
}

byId("open-results").addEventListener("click", async () => {
  byId("results").showModal();
  try {
    await showResults();
  } catch (error) {
    byId("so-far").textContent = error.message;
  }
  if (!byId("training").hidden) watchTraining();
});
byId("train").addEventListener("click", () => training("POST"));
byId("stop").addEventListener("click", () => training("DELETE"));

// ---------------------------------------------------------------- start

async function describe() {
  const about = await request("GET", "/api/campaign");
  byId("tree").textContent = `${about.folder}, ${about.tree}`;
  byId("reference").textContent = about.reference;
  byId("training").hidden = !about.trains;
  byId("guide").hidden = !about.guide.length;
  // Images load when the help is opened for the first time.
  byId("guide-list").append(...about.guide.map((question) =>
    element("details", {}, element("summary", {}, question.text), element("p", { class: "soft" }, question.help),
      element("ul", { class: "examples" }, ...question.answers.map((answer) =>
        element("li", {}, answer.example && element("img", { src: answer.example, alt: "", loading: "lazy", width: 144, height: 144 }),
          element("b", {}, answer.text), element("small", {}, answer.help)))))));
  document.title = `Label ${about.folder}`;
}

try {
  await describe();
  if (remembered.name) await start(remembered.name);
} catch (error) {
  note(error.message);
}
if (!state) {
  byId("join").hidden = false;
  byId("name").focus();
}
