"""The picture of one scorer: its scores, what it keeps, and the words around them."""

from pathlib import Path
from typing import Any

from rushes.pictures import draw_page
from rushes.seen_area import seen_area
from rushes.show import View
from rushes.video import Video


def draw_view(view: View, video: Video, prompt: str, processor: Any, patch: int, path: Path) -> None:
    """Draw what a scorer makes of a video.

    Args:
        view: The scorer's choice.
        video: The frames that the processor was given.
        prompt: The question.
        processor: The checkpoint's.
        patch: Side of a patch of the vision tower, in pixels.
        path: PNG file to write.

    Raises:
        RushesError: The file cannot be written.
    """
    title, lines = words(view, prompt)
    _, height, width, _ = video.frames.shape
    draw_page(
        video.frames,
        view.share,
        path,
        heat=view.heat,
        area=seen_area(processor, height, width, patch),
        seconds=video.timestamps_s.tolist(),
        title=title,
        lines=lines,
    )


def words(view: View, prompt: str) -> tuple[str, tuple[str, ...]]:
    """The title of a picture and the lines below it."""
    kept = "Kept cells are in colour, dropped ones pale."
    heat = "Below each frame are the scores of the same cells."
    if view.layers is not None:
        kept = "A cell has the more colour the more layers keep it; what at least half of them keep is framed."
        heat = "Below each frame are the scores of the same cells, the mean of all layers."
    if view.scores is None:
        heat = f"{view.name} does not look at the video: there are no scores to draw."
    return f"{view.name} keeps {counts(view)}", (f"prompt: {prompt}", f"{kept} {heat}")


def counts(view: View) -> str:
    """How much is kept, in words."""
    each = "" if view.layers is None else f" in each of {view.layers} layers"
    share = view.kept_tokens / view.video_tokens
    return f"{view.kept_tokens} of {view.video_tokens} video tokens ({share:.1%}){each}"
