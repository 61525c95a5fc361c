"""A page that shows an answer word by word: who wrote each, how it was accepted, and what stood against it."""

import re
from html import escape
from pathlib import Path

from rushes.atomic import check_place, whole
from rushes.explain_style import STYLE
from rushes.result import Result, Word, counts

SUFFIXES = (".html",)

# Kind -> its name, and who wrote such a word and why it stands there.
LOOSE: dict[str, tuple[str, str]] = {
    "anchor": ("Strict anchor", "the draft's word; it had to be the target's choice, and was"),
    "exempt": (
        "Exempt but equal",
        "the draft's word; it was exempt from the test, and the target's choice all the same",
    ),
    "relaxed": ("Relaxed filler", "the draft's word, kept although the target would have said another"),
    "shifted": ("Shifted", "the draft's word, which the target would have said a few places away"),
    "correction": ("Correction", "the target's word, in place of one of the draft's that it rejected"),
    "target": ("The target's own", "the target's word; the draft had no candidate here"),
}
LOSSLESS = {
    "anchor": ("The draft's word", "the draft's word, which passed a lossless test"),
    **{kind: LOOSE[kind] for kind in ("correction", "target")},
}
_EDGES = re.compile(r"(\s*)(.*?)(\s*)", re.DOTALL)


def check_explain(path: Path) -> None:
    """Refuse, before there is an answer, a file that the page cannot be written to.

    Args:
        path: As given to `save_explain` later on.

    Raises:
        RushesError: Another suffix than .html, a folder, no such folder, or one that cannot be written to.
    """
    check_place(path, SUFFIXES, "a page ends in .html", "explain.html")


def save_explain(result: Result, path: Path, question: str | None = None) -> None:
    """Write the page.

    Args:
        result: Of one request.
        path: The file.
        question: What was asked, if that is known.

    Raises:
        RushesError: What `check_explain` refuses.
    """
    check_explain(path)
    with whole(path) as temporary:
        temporary.write_bytes(page(result, question).encode(errors="replace"))


def page(result: Result, question: str | None = None) -> str:
    """The whole page: no script, and nothing that is fetched from anywhere."""
    found = counts(result.words)
    names = LOSSLESS if result.lossless else LOOSE
    names = {kind: names.get(kind, LOOSE[kind]) for kind, n in found.items() if n or kind in names}
    asked = "" if question is None else f'<p class="question">{_text(question)}</p>\n'
    many = len(result.words)
    words = "".join(_word(word, i, many, names[word.kind]) for i, word in enumerate(result.words))
    keys = "".join(
        f'<li data-kind="{kind}"><b class="ink">{escape(name)}</b> <span class="count">{found[kind]}</span>'
        f"<small>{escape(meaning)}</small></li>\n"
        for kind, (name, meaning) in names.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{_text(result.method)}: an answer word by word</title>
<style>
{STYLE}</style>
</head>
<body>
<main>
<h1>An answer, word by word</h1>
{asked}<dl class="facts">
<dt>Method</dt><dd class="method">{_text(result.method)}</dd>
<dt>Lossless</dt><dd class="lossless">{_lossless(result)}</dd>
<dt>Words</dt><dd class="sum">{_sum(result)}</dd>
</dl>
<ul class="legend" aria-label="Kinds of words">
{keys}</ul>
<p class="hint">Point at a word, tap it, or reach it with the Tab key, to see how it came about.</p>
<section class="answer" aria-label="The answer">{words or _text(result.text)}</section>
</main>
</body>
</html>
"""


def _lossless(result: Result) -> str:
    """Yes or no, and what that means for this answer."""
    if not result.lossless:
        return "<b>no</b>: the answer may differ from the target's own."
    if any(word.mark.drafted for word in result.words):
        return "<b>yes</b>: the draft's words make the answer come sooner, and do not change it."
    return "<b>yes</b>: the target wrote every word itself."


def _sum(result: Result) -> str:
    drafted, many = sum(word.mark.drafted for word in result.words), len(result.words)
    ended = {"stop": "the answer ended by itself", "length": "the length limit ended it"}.get(result.finish_reason)
    return f"{many} tokens: {drafted} by the draft, {many - drafted} by the target" + (f"; {ended}" if ended else "")


def _word(word: Word, place: int, many: int, name: tuple[str, str]) -> str:
    """One word and what is shown for it; its own text stays as it is, and what marks blanks is drawn by the style."""
    mark, label = word.mark, f"w{place}"
    found = _EDGES.fullmatch(word.text)
    assert found is not None
    before, ink, after = (_blanks(found[1]), _text(found[2]), _blanks(found[3]))
    if not ink:  # nothing to colour: a mark stands for it
        before, ink, after = "", *_unseen(word.text)
    return (
        f'<span class="word" tabindex="0" data-how="{escape(mark.how)}" data-strict="{str(mark.strict).lower()}" '
        f'data-kind="{word.kind}" aria-describedby="{label}">{before}<span class="ink">{ink}</span>'
        f'<span role="tooltip" id="{label}">{_tooltip(word, place, many, name)}</span>{after}</span>'
    )


def _unseen(text: str) -> tuple[str, str]:
    """A mark for a word of nothing but blanks, and the blanks themselves; the mark is the first line break's."""
    if not text:
        return '<i class="empty"></i>', ""
    first, line, rest = text.partition("\n")
    if not line:
        return '<i class="blank"></i>', _text(text)
    return '<i class="break"></i>', _text(first) + line + _blanks(rest)


def _tooltip(word: Word, place: int, many: int, name: tuple[str, str]) -> str:
    mark = word.mark
    lines = [f"<b>{escape(name[0])}</b>", f"{_code(word.text, word.token_id)} is {escape(name[1])}."]
    if mark.other is not None:
        said = "The target would have said" if mark.drafted else "The draft had said"
        lines.append(f'{said} <span class="other">{_code(word.other, mark.other)}</span>.')
    elif mark.how == "correction":
        lines.append("The draft had something else here.")
    if mark.relevance is not None:
        lines.append(f'Relevance to the video: <span class="relevance">{mark.relevance:.3g}</span>')
    lines.append(f"<small>word {place + 1} of {many}, token {word.token_id}</small>")
    return "".join(f"<span>{line}</span>" for line in lines)


def _code(text: str, token: int) -> str:
    """A token's text where it is talked about, with every blank to be seen."""
    seen = text.replace("\r\n", "⏎").replace("\n", "⏎").replace("\t", "⇥")
    seen = seen if seen.strip() else seen.replace(" ", "␣")
    return f"<code>{_text(seen)}</code>" if seen else f"<code>token {token}</code>"


def _blanks(text: str) -> str:
    """Blanks as they are, with a mark at every line break."""
    return _text(text).replace("\n", '<i class="break"></i>\n')


def _text(text: str) -> str:
    """Escaped; what a page cannot hold is replaced."""
    return escape(text).replace("\0", "\ufffd").replace("\r", "&#13;")
