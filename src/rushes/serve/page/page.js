// The page of `rushes serve`: a video, a question, and an answer that shows how it came about.

import { Answer } from "./answer.js";
import { ApiError, chat, get, onKeyNeeded } from "./api.js";
import { drawFrames, drawKept } from "./film.js";
import { askKey, clearNotice, notice } from "./notice.js";
import { drawBars, verdict } from "./race.js";
import { Spoken } from "./spoken.js";
import { open, show } from "./video.js";
import { explain, legend } from "./words.js";

const at = (id) => document.getElementById(id);
const spoken = new Spoken(at("spoken"));
const methods = new Map();
const state = {
  model: null,
  video: null, // {name, url, data: promise of a data URL}
  turns: [], // {question, answer} of this conversation
  running: null, // AbortController
};

async function load() {
  clearNotice();
  try {
    const [{ id }] = (await get("v1/models")).data;
    const known = await get("v1/methods");
    state.model = id;
    at("model").textContent = id;
    at("bundled").hidden = id !== "rushes-demo";
    at("keep").value = Math.round(known.keep * 100);
    offer(known);
  } catch (error) {
    notice(error, load);
  }
}

function offer(known) {
  const groups = new Map(
    ["Lossless: the target's own answer", "Relaxed: the answer may differ"].map((label, i) => {
      const group = document.createElement("optgroup");
      group.label = label;
      return [i === 0, group];
    }),
  );
  for (const method of known.data) {
    methods.set(method.id, method);
    groups.get(method.lossless).append(new Option(method.id, method.id));
  }
  at("method").replaceChildren(...groups.values());
  at("method").value = methods.has(known.default) ? known.default : "ar";
  describe();
}

function describe() {
  const method = methods.get(at("method").value);
  const prunes = !["", "full", "none"].includes(method.recipe.split("+")[0]);
  at("lossless").textContent = method.lossless ? "lossless" : "not lossless";
  at("lossless").dataset.lossless = method.lossless;
  at("description").textContent = method.description;
  at("keep").disabled = !prunes;
  at("keep-value").textContent = prunes ? `${at("keep").value} %` : method.recipe.startsWith("full") ? "all" : "–";
}

// The video.

async function takeDemo() {
  at("state").textContent = "Fetching the demo video.";
  try {
    const response = await fetch("demo.mp4");
    if (!response.ok) throw new ApiError(response.status, null);
    take(new File([await response.blob()], "demo.mp4", { type: "video/mp4" }));
  } catch (error) {
    notice(error, takeDemo);
  }
}

function take(file) {
  if (!file) return;
  try {
    const made = open(file);
    startAnew();
    if (state.video) URL.revokeObjectURL(state.video.url);
    state.video = made;
    show(made);
    at("state").textContent = `${file.name} is ready to be asked about.`;
  } catch (error) {
    notice(error);
  }
}

// Questions and answers.

async function ask(racing) {
  if (state.running) return;
  clearNotice();
  const question = at("question").value.trim();
  const chosen = methods.get(at("method").value);
  const reason = missing(question, chosen, racing);
  if (reason) {
    notice(new Error(reason));
    return;
  }
  const { turns } = state;
  const before = repeats(question) ? turns.slice(0, -1) : [...turns];
  const running = (state.running = new AbortController());
  const turn = newTurn(question);
  const answers = [];
  busy(true);
  try {
    const messages = conversation(before, question, await state.video.data);
    for (const method of racing ? [methods.get("ar"), chosen] : [chosen]) {
      const answer = new Answer(method, { followUp: before.length > 0, racing });
      answers.push(answer);
      turn.querySelector(".lanes").append(answer.root);
      await write(answer, answers, { ...request(method), messages, ...(racing && { reuse: false }) }, running.signal);
    }
    if (racing) conclude(turn, verdict(...answers));
    at("state").textContent = "The answer is complete.";
    turns.splice(before.length, 1, { question, answer: answers.at(-1).text });
  } catch (error) {
    breakOff(error, turn, answers, racing);
    const written = answers.findLast((answer) => answer.text);
    if (written && error.name === "AbortError") turns.splice(before.length, 1, { question, answer: written.text });
  } finally {
    spoken.end();
    state.running = null;
    busy(false);
  }
}

// Asked once more, the last question takes the place that it had: so that methods can be compared.
function repeats(question) {
  return state.turns.at(-1)?.question === question;
}

function nameQuestion() {
  const again = repeats(at("question").value.trim()) ? "The same question again" : "Follow-up question";
  at("question-label").textContent = state.turns.length ? again : "Question";
}

function missing(question, chosen, racing) {
  if (!state.model || !chosen) return "The server has not said yet what it serves; reload the page.";
  if (!state.video) return "There is no video yet: drop one, or take the demo video.";
  if (!question) return "The question is empty; write one.";
  if (!at("tokens").checkValidity() || !at("tokens").value) return "Most tokens must be a whole number from 1 on.";
  if (racing && chosen.id === "ar") return "ar is plain decoding; choose the method that is to race against it.";
  return null;
}

function conversation(turns, question, video) {
  const asked = [...turns.map((turn) => turn.question), question];
  return asked.flatMap((text, i) => {
    const film = i === 0 ? [{ type: "video_url", video_url: { url: video } }] : [];
    const user = { role: "user", content: [...film, { type: "text", text }] };
    return i < turns.length ? [user, { role: "assistant", content: turns[i].answer }] : [user];
  });
}

function request(method) {
  return {
    model: state.model,
    method: method.id,
    keep: Number(at("keep").value) / 100,
    max_tokens: Number(at("tokens").value),
  };
}

async function write(answer, answers, body, signal) {
  at("state").textContent = `${answer.method.id}: waiting for a turn, and for the video to be read.`;
  spoken.begin();
  const first = () => `${answer.method.id} is answering.`;
  await answer.read(chat(body, signal), (chunk) => {
    const { videos, kept_indices: kept, words } = chunk.rushes ?? {};
    if (videos) showFilm(videos[0], answer.method);
    if (kept) showKept(kept);
    if (words && at("state").textContent !== first()) at("state").textContent = first();
    if (words) legend(at("legend"), answer.method.lossless, answer.counts);
    if (answer.racing) drawBars(answers);
    spoken.add(chunk.choices[0]?.delta.content ?? "");
  });
}

function newTurn(question) {
  const turn = at("turn-template").content.firstElementChild.cloneNode(true);
  turn.querySelector(".asked").textContent = question;
  at("turns").prepend(turn);
  at("answers").hidden = false;
  legend(at("legend"), methods.get(at("method").value).lossless, new Map());
  return turn;
}

function conclude(turn, sentences) {
  const lines = turn.querySelector(".verdict");
  lines.hidden = false;
  lines.replaceChildren(
    ...sentences.map((sentence) => {
      const line = document.createElement("span");
      line.textContent = sentence;
      return line;
    }),
  );
}

function breakOff(error, turn, answers, racing) {
  const stopped = error.name === "AbortError";
  const last = answers.at(-1);
  if (last?.words.length) last.close(`${stopped ? "Stopped" : "Broken off"} after ${last.words.length} tokens.`);
  else last?.root.remove();
  if (!turn.querySelector(".words")) turn.remove();
  else if (racing) conclude(turn, ["The race was not finished: nothing was compared."]);
  at("answers").hidden = !at("turns").children.length;
  at("state").textContent = stopped ? "Stopped." : "";
  if (!stopped) notice(error, () => ask(racing));
}

function startAnew() {
  state.running?.abort();
  state.turns = [];
  at("turns").replaceChildren();
  at("answers").hidden = at("film").hidden = true;
  clearNotice();
  busy(state.running !== null);
}

function busy(running) {
  const left = !running && document.activeElement === at("stop");
  for (const id of ["go", "race"]) at(id).setAttribute("aria-disabled", running);
  at("stop").hidden = !running;
  at("anew").hidden = running || !state.turns.length;
  nameQuestion();
  at("work").setAttribute("aria-busy", running);
  if (left) at("question").focus();
  if (!running && document.activeElement === at("question")) at("question").select();
}

// The film.

function showFilm(seen, method) {
  const [t] = seen.grid;
  drawFrames(at("frames"), seen);
  const some = seen.moments.length < t ? ` ${seen.moments.length} of ${t} moments are shown.` : "";
  at("film").hidden = false;
  at("film").dataset.some = some;
  const before = method.recipe === "" ? "Plain decoding has no draft; the target sees every cell." : "Reading…";
  at("film-about").textContent = before + some;
}

function showKept(kept) {
  const all = at("frames").dataset.grid.split(" ").reduce((product, size) => product * size, 1);
  drawKept(at("frames"), kept);
  const share = ((100 * kept.length) / all).toFixed(kept.length < all / 10 ? 1 : 0);
  at("film-about").textContent =
    `${kept.length} of ${all} video tokens are kept for drafting (${share} %): the clear cells. ` +
    `The target sees them all.${at("film").dataset.some}`;
}

// Wiring.

onKeyNeeded(askKey);
explain(at("turns"), at("tip"));
at("method").addEventListener("change", describe);
at("keep").addEventListener("input", describe);
at("demo").addEventListener("click", takeDemo);
at("file").addEventListener("change", (event) => take(event.target.files[0]));
at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask(false);
});
at("question").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ask(false);
});
at("question").addEventListener("input", nameQuestion);
at("race").addEventListener("click", () => ask(true));
at("stop").addEventListener("click", () => state.running?.abort());
at("anew").addEventListener("click", () => {
  startAnew();
  at("question").focus();
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dragging", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files[0]);
  });
}
load();
