"""How the page of `rushes.explain` looks."""

# Okabe and Ito's and a grey, which people tell apart whatever colours they see; kind -> its colour, and the text on it.
COLOURS = {
    "anchor": ("#0072b2", "#fff"),
    "exempt": ("#56b4e9", "#000"),
    "relaxed": ("#f0e442", "#000"),
    "shifted": ("#cc79a7", "#000"),
    "correction": ("#d55e00", "#000"),
    "target": ("#666666", "#fff"),
}
# Kinds are told apart without any colour as well: by the line below them.
_LINES = {
    "anchor": "none",
    "exempt": "underline solid",
    "relaxed": "underline wavy",
    "shifted": "underline dashed",
    "correction": "underline double",
    "target": "underline dotted",
}
_KINDS = "".join(
    f'[data-kind="{kind}"] {{ --fill: {fill}; --on: {on}; --line: {_LINES[kind]}; }}\n'
    for kind, (fill, on) in COLOURS.items()
)

# A tooltip lies below its word's line, as wide as the answer; browsers that can put it at the word, or above it where
# there is no room below.
STYLE = (
    """:root { color-scheme: light dark;
  --paper: #fcfcfa; --ink: #191919; --faint: #5f5f5f; --card: #fff; --edge: #d8d8d4; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #17181a; --ink: #ececea; --faint: #a5a5a2; --card: #232427; --edge: #3d3f44; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 1.5rem 1rem 10rem; overflow-wrap: anywhere; }
h1 { font-size: 1.35rem; margin: 0 0 .75rem; }
.question { margin: 0 0 1rem; padding-left: .75rem; border-left: 3px solid var(--edge); white-space: pre-wrap; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0 0 1rem; }
.facts dt { color: var(--faint); }
.facts dd { margin: 0; }
.legend { list-style: none; margin: 0; padding: 0; display: grid; gap: .6rem 1.25rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
.legend b { font-weight: 600; }
.legend small { display: block; color: var(--faint); }
.count { font-variant-numeric: tabular-nums; font-weight: 600; margin-left: .25rem; }
.hint { color: var(--faint); font-size: .875rem; margin: 1.25rem 0 .5rem; }
.answer { position: relative; padding: 1rem; background: var(--card); border: 1px solid var(--edge);
  border-radius: .5rem; font-size: 1.125rem; line-height: 2; white-space: pre-wrap; }
.ink { background: var(--fill); color: var(--on); padding: .1em .25em .2em; margin-right: 1px; border-radius: .25em;
  text-decoration: var(--line); text-decoration-thickness: 1.5px; text-decoration-skip-ink: none;
  text-underline-offset: .14em;
  -webkit-box-decoration-break: clone; box-decoration-break: clone; }
.word { cursor: help; outline: none; }
.word:hover .ink, .word:focus .ink { box-shadow: 0 0 0 2px var(--card), 0 0 0 4px var(--ink); }
.word i { font-style: normal; }
.blank::before { content: "␣"; }
.empty::before { content: "·"; }
.break::before { content: "⏎"; font-size: .8em; }
.word > .break { color: var(--faint); }
[role="tooltip"] { position: absolute; left: .5rem; right: .5rem; margin-top: 2.1em; z-index: 1; padding: .6rem .8rem;
  background: var(--ink); color: var(--paper); border-radius: .4rem; box-shadow: 0 .3rem 1rem #0006;
  font-size: .9rem; line-height: 1.5; white-space: normal;
  visibility: hidden; pointer-events: none; user-select: none; }
[role="tooltip"] > span { display: block; }
[role="tooltip"] code { font: inherit; font-weight: 600; white-space: pre-wrap; padding: 0 .25em; border-radius: .2em;
  background: color-mix(in srgb, var(--paper) 22%, transparent); }
.word:hover [role="tooltip"], .word:focus [role="tooltip"] { visibility: visible; }
.answer:has(.word:hover) .word:focus:not(:hover) [role="tooltip"] { visibility: hidden; }
@supports (position-try-fallbacks: flip-block) {
  .word { anchor-scope: --word; }
  .word .ink { anchor-name: --word; }
  [role="tooltip"] { position: fixed; inset: auto; margin: .4rem; width: max-content;
    max-width: min(27rem, calc(100vw - 1rem)); position-anchor: --word; position-area: bottom;
    position-try-fallbacks: flip-block; }
}
"""
    + _KINDS
)
