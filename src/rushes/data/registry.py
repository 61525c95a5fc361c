"""Data sets by name, and what `--data` takes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rushes.data import long_video_bench, lvbench, mlvu, mvbench, own, video_detail_caption, video_mme
from rushes.data.sample import Missing, Sample, Skipped, ignore
from rushes.errors import RushesError, unknown_name


class Reader(Protocol):
    """Checks the layout at once, and reads no row before the first sample is asked for."""

    def __call__(self, place: Path, /, missing: Missing = ignore) -> Iterator[Sample]: ...


DATASETS: dict[str, Reader] = {
    "VideoDetailCaption": video_detail_caption.read,
    "MVBench": mvbench.read,
    "MLVU": mlvu.read,
    "LongVideoBench": long_video_bench.read,
    "Video-MME": video_mme.read,
    "LVBench": lvbench.read,
}


@dataclass(slots=True)
class Data:
    """Samples of one place, read anew on every pass.

    Args:
        name: of the data set, or of the file of one's own.
        place: folder or file.
        skipped: what the latest pass could not use, as far as it went.
    """

    name: str
    place: Path
    reader: Reader
    skipped: list[Skipped] = field(default_factory=list)

    def __iter__(self) -> Iterator[Sample]:
        """The samples, in the published order.

        Raises:
            RushesError: something in the files cannot be used, or there is not one sample; at the row where it shows.
        """
        skipped: list[Skipped] = []
        self.skipped = skipped
        empty = True
        for sample in self.reader(self.place, skipped.append):
            empty = False
            yield sample
        if empty:
            raise RushesError(f"no sample of {self.name} in {str(self.place)!r} can be used{_why(skipped)}")


def open_data(spec: str) -> Data:
    """The data set that `NAME=FOLDER` or the path of a .jsonl file stands for.

    Names are matched without regard to case and hyphens. Rows are not read here, but folders and files are looked for.

    Raises:
        RushesError: no such name, folder or file, or a folder that lacks annotations or videos.
    """
    name, equals, folder = spec.partition("=")
    if spec.endswith(".jsonl") and (not equals or Path(spec).is_file()):
        data = Data(Path(spec).name, Path(spec).expanduser(), own.read)
    elif not equals or not folder:
        raise RushesError(
            f"{spec!r} is neither NAME=FOLDER nor the path of a .jsonl file; names: {', '.join(DATASETS)}"
        )
    else:
        known = {_plain(key): key for key in DATASETS}
        if _plain(name) not in known:
            raise unknown_name("data set", name, list(DATASETS))
        key = known[_plain(name)]
        data = Data(key, Path(folder).expanduser(), DATASETS[key])
    data.reader(data.place)  # for its errors: better now than after a model was loaded
    return data


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "").strip()


def _why(skipped: list[Skipped]) -> str:
    if not skipped:
        return ": the annotations are empty"
    first = skipped[0]
    return f"; {len(skipped)} were skipped, the first ({first.id}) because of this: {first.reason}"
