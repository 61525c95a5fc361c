"""One's own videos and prompts: a file of JSON lines."""

from collections.abc import Iterator
from pathlib import Path

from rushes.data.choices import DIRECTLY, letter_of, letters_of, option_lines
from rushes.data.folders import video_or_skip
from rushes.data.rows import Row, jsonl_rows
from rushes.data.sample import Kind, Missing, Sample, ignore
from rushes.errors import RushesError

KINDS: tuple[Kind, ...] = ("description", "choice", "open")


def read(file: Path, missing: Missing = ignore) -> Iterator[Sample]:
    """Samples of a file with one {"video", "prompt", "answer"?} per line, in UTF-8; blank lines are passed over.

    `video` is a path, relative to the file's folder. An answer makes the sample "open", no answer "description".
    Further keys that may be there: "id" (else the line's number among the samples), "kind" ("description" for an answer
    that is only for people to compare with), and "options", a list of texts: the sample becomes "choice", the prompt is
    followed by the options as lines and the request for a letter, and `answer` is a letter or the text of an option.

    Raises:
        RushesError: there is no such file; while reading, a line that cannot be used, with its number.
    """
    if not file.is_file():
        raise RushesError(f"there is no file {str(file)!r}; give a file of lines {{'video': ..., 'prompt': ...}}")
    return _samples(file, missing)


def _samples(file: Path, missing: Missing) -> Iterator[Sample]:
    seen: set[str] = set()
    for number, row in enumerate(jsonl_rows(file), 1):
        sample = row.text("id") if row.has("id") else str(number)
        if sample in seen:
            raise RushesError(f"{row.where}: a second sample with the id {sample!r}; ids must differ")
        seen.add(sample)
        made = _unplaced(sample, row)
        if video := video_or_skip([file.parent], row.text("video"), sample, missing):
            yield Sample(sample, video, *made)


def _unplaced(sample: str, row: Row) -> tuple[str, str | None, Kind, tuple[str, ...]]:
    """Prompt, answer, kind and letters."""
    prompt, answer = row.text("prompt"), row.text("answer") if row.has("answer") else None
    options = row.texts("options") if row.has("options") else ()
    kind: Kind = "choice" if options else "description" if answer is None else "open"
    if row.has("kind"):
        given = row.text("kind")
        if given not in KINDS or (given == "choice") != bool(options):
            raise RushesError(
                f"{row.where}: 'kind' is {given!r}; give 'description' or 'open', or 'choice' together with 'options'"
            )
        kind = given
    if not options:
        return prompt, answer, kind, ()
    letters = letters_of(options)
    if answer is not None and answer not in letters:
        letter = letter_of(answer, options)
        if letter is None:
            raise RushesError(f"{row.where}: 'answer' is {answer!r}, neither an option nor one of {', '.join(letters)}")
        answer = letter
    return f"{prompt}\n{option_lines(options)}\n{DIRECTLY}", answer, kind, letters
