// The answer for screen readers: whole sentences, and not more often than every few seconds.

const PAUSE_MS = 4000;

export class Spoken {
  constructor(log) {
    this.log = log;
    this.rest = "";
    this.said_ms = 0;
  }

  begin() {
    this.log.replaceChildren();
    this.rest = "";
    this.said_ms = performance.now();
  }

  add(text) {
    this.rest += text;
    const end = /[^]*[.!?\n]\s/.exec(this.rest)?.[0].length ?? 0;
    if (end && performance.now() - this.said_ms >= PAUSE_MS) this.#say(end);
  }

  end() {
    if (this.rest.trim()) this.#say(this.rest.length);
  }

  #say(length) {
    const line = document.createElement("p");
    line.textContent = this.rest.slice(0, length).trim();
    this.rest = this.rest.slice(length);
    this.said_ms = performance.now();
    this.log.append(line);
  }
}
