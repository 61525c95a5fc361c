// The words of an answer: who wrote each, and what is told about it.

// Kind -> its name, and who wrote such a word and why it stands there; as in `rushes generate --explain`.
const LOOSE = {
  anchor: ["Strict anchor", "the draft's word; it had to be the target's choice, and was"],
  exempt: ["Exempt but equal", "the draft's word; it was exempt from the test, and the target's choice all the same"],
  relaxed: ["Relaxed filler", "the draft's word, kept although the target would have said another"],
  shifted: ["Shifted", "the draft's word, which the target would have said a few places away"],
  correction: ["Correction", "the target's word, in place of one of the draft's that it rejected"],
  target: ["The target's own", "the target's word; the draft had no candidate here"],
};
const LOSSLESS = {
  anchor: ["The draft's word", "the draft's word, which passed a lossless test"],
  correction: LOOSE.correction,
  target: LOOSE.target,
};

export function kindOf(word) {
  if (word.how !== "exact") return word.how;
  return word.strict ? "anchor" : "exempt";
}

export function named(lossless) {
  return lossless ? LOSSLESS : LOOSE;
}

// The elements of one word: blanks stay as they are, and only the ink between them is coloured.
export function element(word, place, lossless) {
  const made = document.createElement("span");
  const [, before, ink, after] = /^(\s*)([^]*?)(\s*)$/.exec(word.text);
  made.className = "word";
  made.dataset.kind = kindOf(word);
  made.dataset.place = place;
  made.tabIndex = -1;
  made.told = { word, lossless };
  const coloured = document.createElement("span");
  coloured.className = ink ? "ink" : `ink ${word.text.includes("\n") ? "break" : word.text ? "blank" : "end"}`;
  coloured.textContent = ink;
  made.append(before, coloured, after);
  return made;
}

// Draws the legend; `counts` is a Map from kinds to how many words there are of each.
export function legend(list, lossless, counts) {
  const names = { ...named(lossless) };
  for (const kind of counts.keys()) names[kind] ??= LOOSE[kind];
  list.replaceChildren(
    ...Object.entries(names).map(([kind, [name, meaning]]) => {
      const key = document.createElement("li");
      key.dataset.kind = kind;
      key.title = meaning;
      const ink = document.createElement("span");
      ink.className = "ink";
      ink.textContent = name;
      const count = document.createElement("span");
      count.className = "count";
      count.textContent = counts.get(kind) ?? 0;
      key.append(ink, " ", count);
      return key;
    }),
  );
}

// Lets the words inside `root` say more when they are pointed at, tapped or reached with the keyboard.
export function explain(root, tip) {
  let shown = null;
  const show = (made) => {
    shown?.removeAttribute("aria-describedby");
    shown = made;
    tip.hidden = made === null;
    if (made === null) return;
    fill(tip, made);
    put(tip, made);
    made.setAttribute("aria-describedby", tip.id);
  };
  const on = (kind, react) =>
    root.addEventListener(kind, (event) => {
      const made = wordOf(event.target);
      if (made) react(made, event);
    });
  on("pointerover", show);
  on("pointerout", () => show(wordOf(document.activeElement)));
  on("focusin", (made) => {
    for (const other of made.parentElement.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
    made.tabIndex = 0;
    show(made);
  });
  on("focusout", () => show(null));
  on("keydown", (made, event) => {
    if (event.key === "Escape") show(null);
    step(made, event);
  });
  const follow = () => shown && put(tip, shown);
  document.addEventListener("scroll", follow, { passive: true, capture: true });
  window.addEventListener("resize", follow);
  new MutationObserver(() => shown && !shown.isConnected && show(null)).observe(root, { childList: true });
}

function wordOf(node) {
  return node?.closest?.(".word") ?? null;
}

function step(made, event) {
  const to = {
    ArrowRight: made.nextElementSibling,
    ArrowLeft: made.previousElementSibling,
    Home: made.parentElement.firstElementChild,
    End: made.parentElement.lastElementChild,
  };
  if (!(event.key in to)) return;
  event.preventDefault();
  to[event.key]?.focus();
}

function fill(tip, made) {
  const { word, lossless } = made.told;
  const kind = kindOf(word);
  const [name, meaning] = named(lossless)[kind] ?? LOOSE[kind];
  const lines = [[bold(name)], [code(word.text, word.id), ` is ${meaning}.`]];
  if (word.other) {
    const said = word.by === "draft" ? "The target would have said " : "The draft had said ";
    lines.push([said, code(word.other.text, word.other.id), "."]);
  } else if (word.how === "correction") {
    lines.push(["The draft had something else here."]);
  }
  if (word.relevance !== null) lines.push([`Relevance to the video: ${word.relevance.toPrecision(3)}`]);
  lines.push([`Token ${Number(made.dataset.place) + 1} of the answer, number ${word.id}`]);
  tip.dataset.kind = kind;
  tip.replaceChildren(
    ...lines.map((parts) => {
      const line = document.createElement("span");
      line.append(...parts);
      return line;
    }),
  );
}

function bold(text) {
  const made = document.createElement("b");
  made.textContent = text;
  return made;
}

// A token's text where it is talked about, with every blank to be seen.
function code(text, id) {
  const made = document.createElement("code");
  const seen = text.replaceAll("\n", "⏎").replaceAll("\t", "⇥");
  made.textContent = seen === "" ? `token ${id}` : seen.trim() === "" ? seen.replaceAll(" ", "␣") : seen.trim();
  return made;
}

// Below the word, or above it where there is no room below.
function put(tip, made) {
  const gap = 8;
  const ink = made.querySelector(".ink");
  const [first] = ink.getClientRects();
  const box = first ?? ink.getBoundingClientRect();
  tip.style.visibility = box.bottom < 0 || box.top > window.innerHeight ? "hidden" : "visible";
  const most = document.documentElement.clientWidth - tip.offsetWidth - gap;
  const below = box.bottom + gap + tip.offsetHeight <= window.innerHeight;
  tip.style.left = `${Math.max(gap, Math.min(box.left, most))}px`;
  tip.style.top = `${below ? box.bottom + gap : Math.max(gap, box.top - gap - tip.offsetHeight)}px`;
}
