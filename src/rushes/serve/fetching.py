"""From a job's URLs to the bytes behind them."""

from dataclasses import replace

from rushes.serve.job import Job, Link, Said
from rushes.serve.media import MediaSource, Medium


async def fetched(job: Job, source: MediaSource) -> Job:
    """The job with the bytes of its media in place of their URLs; each URL is asked once.

    Raises:
        Refusal: As `MediaSource.fetch`.
    """
    known: dict[Link, Medium] = {}
    turns = []
    for i, turn in enumerate(job.turns):
        parts: list[str | Link | Medium] = []
        for j, part in enumerate(turn.parts):
            if isinstance(part, Link):
                if part not in known:
                    known[part] = await source.fetch(part.url, part.kind, place(i, j))
                parts.append(known[part])
            else:
                parts.append(part)
        turns.append(Said(turn.role, tuple(parts)))
    return replace(job, turns=tuple(turns))


def place(turn: int, part: int) -> str:
    """Where a part stands in the request."""
    return f"messages[{turn}].content[{part}]"
