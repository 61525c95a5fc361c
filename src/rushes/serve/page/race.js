// Two answers to one question, one after the other: their clocks to one scale, and what came of it.

import { number } from "./answer.js";

// Draws both bars; the longer one is the whole width.
export function drawBars(answers) {
  const longest = Math.max(...answers.map((answer) => answer.decoding_s), 1e-6);
  for (const answer of answers) {
    const bar = answer.root.querySelector(".bar");
    bar.hidden = false;
    bar.firstElementChild.style.width = `${(100 * answer.decoding_s) / longest}%`;
  }
}

// Sentences about two whole answers.
export function verdict(plain, other) {
  const [before, now] = [plain.tokensPerSecond, other.tokensPerSecond];
  return [
    ...(before && now
      ? [
          `${other.method.id} decodes at ${(now / before).toFixed(2)}× the speed of plain decoding: ${number(now)} ` +
            `tokens per second against ${number(before)}.`,
        ]
      : []),
    `From the decoded video to the last word it takes ${whole_s(other).toFixed(2)} s against ${whole_s(plain).toFixed(2)} s.`,
    compared(plain, other),
  ];
}

function whole_s(answer) {
  return answer.prefill_s + answer.decoding_s;
}

function compared(plain, other) {
  const same = Math.min(plain.words.length, other.words.length);
  const at = plain.words.findIndex((word, i) => word.id !== other.words[i]?.id);
  if (at < 0 && plain.words.length === other.words.length) {
    return `The answers are identical, all ${plain.words.length} tokens.`;
  }
  const from = at < 0 ? same : at;
  const why = other.end.rushes.lossless
    ? " A lossless method can differ only where rounding decides between two tokens that are nearly tied."
    : " This method is not lossless.";
  return `The answers differ from token ${from + 1} on: ${quoted(other.words[from])} here, ${quoted(plain.words[from])} with plain decoding.${why}`;
}

function quoted(word) {
  if (!word) return "the end";
  return word.text.trim() ? `“${word.text.trim()}”` : `token ${word.id}`;
}
