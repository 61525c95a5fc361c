// One answer while it is written: its words, its clock, and what the server says in the end.

import { element, kindOf } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const CALM = window.matchMedia("(prefers-reduced-motion: reduce)");

export class Answer {
  // method: as in /v1/methods. followUp: something was asked before. racing: another method answers the same.
  constructor(method, { followUp, racing }) {
    this.method = method;
    this.followUp = followUp;
    this.racing = racing;
    this.root = document.getElementById("answer-template").content.firstElementChild.cloneNode(true);
    this.words = [];
    this.text = "";
    this.rounds = []; // accepted tokens of each; the first token is the prefill's
    this.counts = new Map();
    this.end = null; // the last chunk
    this.sent_ms = this.first_ms = this.last_ms = 0;
    this.#part("name").textContent = method.id;
  }

  #part(name) {
    return this.root.querySelector(`.${name}`);
  }

  // Reads chunks to their end; `seen(chunk)` hears of each.
  async read(chunks, seen) {
    this.sent_ms = performance.now();
    this.root.dataset.running = "";
    const ticking = setInterval(() => this.#draw(), CALM.matches ? 500 : 100);
    try {
      for await (const chunk of chunks) {
        this.#take(chunk);
        seen(chunk);
      }
    } finally {
      clearInterval(ticking);
      delete this.root.dataset.running;
      this.#draw();
    }
  }

  get decoding_s() {
    if (this.end) return this.end.metrics.time_s.decoding;
    const until = "running" in this.root.dataset ? performance.now() : this.last_ms;
    return this.first_ms ? (until - this.first_ms) / 1000 : 0;
  }

  // The server decodes a video once; whoever comes first would pay for both.
  get prefill_s() {
    const { time_s, time_to_first_token_s } = this.end.metrics;
    return time_to_first_token_s - time_s.decode_video;
  }

  get tokensPerSecond() {
    if (this.end) return this.end.metrics.tokens_per_second;
    const seconds = (this.last_ms - this.first_ms) / 1000;
    return seconds > 0 ? (this.words.length - 1) / seconds : 0;
  }

  get acceptedPerRound() {
    if (this.end) return this.end.metrics.accepted_per_round;
    return this.rounds.length ? this.rounds.reduce((sum, n) => sum + n, 0) / this.rounds.length : 0;
  }

  // What is said when the answer was stopped, or broke off.
  close(words) {
    this.#part("ending").textContent = words;
  }

  #take(chunk) {
    const words = chunk.rushes?.words ?? [];
    if (words.length) this.#add(words);
    this.text += chunk.choices[0]?.delta.content ?? "";
    if (chunk.usage) this.#finish(chunk);
  }

  #add(words) {
    this.last_ms = performance.now();
    if (this.first_ms) this.rounds.push(words.filter((word) => word.by === "draft").length);
    else this.first_ms = this.last_ms;
    const { lossless } = this.method;
    this.#part("words").append(...words.map((word, i) => element(word, this.words.length + i, lossless)));
    if (!this.words.length) this.#part("word").tabIndex = 0;
    this.words.push(...words);
    for (const word of words) this.counts.set(kindOf(word), (this.counts.get(kindOf(word)) ?? 0) + 1);
  }

  #finish(chunk) {
    this.end = chunk;
    const { usage, rushes, choices } = chunk;
    const cached = usage.prompt_tokens_details.cached_tokens;
    const drafted = this.words.filter((word) => word.by === "draft").length;
    const why = choices[0]?.finish_reason === "length" ? "the length limit ended it" : "it ended by itself";
    this.#part("cached").textContent = `${cached} of ${usage.prompt_tokens}`;
    if (this.racing) {
      this.#part("first-label").textContent = "Vision and prefill";
      this.#part("first").textContent = `${this.prefill_s.toFixed(2)} s`;
    }
    const again = this.followUp || cached ? ` Read again: ${cached} of ${usage.prompt_tokens} tokens were cached.` : "";
    this.close(`${usage.completion_tokens} tokens, ${drafted} of them by the draft; ${why}.${again}`);
    const notes = this.#part("notes");
    notes.hidden = rushes.notes.length === 0;
    notes.querySelector("summary").textContent = rushes.notes.length === 1 ? "A note" : `${rushes.notes.length} notes`;
    notes.querySelector("ul").replaceChildren(
      ...rushes.notes.map((note) => {
        const item = document.createElement("li");
        item.textContent = note;
        return item;
      }),
    );
  }

  #draw() {
    const drafts = this.method.recipe !== "";
    this.#part("since").hidden = !this.first_ms;
    this.#part("clock").textContent = this.first_ms ? `${this.decoding_s.toFixed(2)} s` : "";
    if (this.words.length > 1) this.#part("speed").textContent = number(this.tokensPerSecond);
    if (drafts && this.rounds.length) this.#part("accepted").textContent = this.acceptedPerRound.toFixed(2);
    if (this.first_ms && !(this.racing && this.end)) {
      this.#part("first").textContent = `${((this.first_ms - this.sent_ms) / 1000).toFixed(2)} s`;
    }
    if (drafts && this.rounds.length) this.#drawRounds();
  }

  #drawRounds() {
    const picture = this.#part("rounds svg");
    const most = Math.max(1, ...this.rounds);
    const wide = Math.max(24, this.rounds.length);
    this.#part("rounds").hidden = false;
    this.#part("rounds figcaption").textContent = `Accepted in each of ${this.rounds.length} rounds, ${most} at most`;
    picture.setAttribute("viewBox", `0 0 ${wide} ${most}`);
    picture.replaceChildren(
      ...this.rounds.map((accepted, i) => {
        const bar = document.createElementNS(SVG, "rect");
        const high = Math.max(accepted, most * 0.04);
        for (const [name, value] of Object.entries({ x: i + 0.1, y: most - high, width: 0.8, height: high })) {
          bar.setAttribute(name, value);
        }
        bar.dataset.accepted = accepted;
        return bar;
      }),
    );
  }
}

export function number(value) {
  return value >= 100 ? value.toFixed(0) : value.toFixed(1);
}
