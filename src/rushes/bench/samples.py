"""The questions of a benchmark: a folder of videos, a list of one's own, or a public benchmark on disk."""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from rushes.bench.trial import Question
from rushes.data import Data, open_data, score
from rushes.data.sample import Sample, Skipped
from rushes.errors import RushesError

SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".gif")


def of_folder(folder: Path, prompt: str, samples: int) -> list[Question]:
    """One question about each video of a folder, by name.

    Raises:
        RushesError: No such folder, or no video in it.
    """
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise RushesError(f"cannot read the folder {folder}: {error.strerror}") from error
    if not found:
        raise RushesError(f"no samples: {folder} holds no video ({', '.join(SUFFIXES)})")
    return [Question(str(path), prompt, None, path.name) for path in found[:samples]]


def of_data(spec: str, samples: int) -> tuple[list[Question], Data]:
    """The first questions of a data set, and the data set, which lists what it skipped.

    Raises:
        RushesError: As `open_data`, and no sample that can be used.
    """
    data = open_data(spec)
    questions = [_question(sample) for sample in islice(_whole(data), samples)]
    if not questions:
        raise RushesError(f"no samples: {data.skipped[0].id} was skipped: {data.skipped[0].reason}")
    return questions, data


def _whole(data: Data) -> Iterator[Sample]:
    for sample in data:
        if sample.seconds is None:
            yield sample
        else:
            data.skipped.append(Skipped(sample.id, "asks about a stretch of its video, which cannot be cut out yet"))


def _question(sample: Sample) -> Question:
    return Question(str(sample.video), sample.prompt, partial(score, sample), sample.id)
