"""Where a local copy of a published data set keeps its files, and what to say when it does not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rushes.data.sample import Missing, Skipped
from rushes.errors import RushesError

# As published first; the others are what people have when they downloaded the videos themselves.
SUFFIXES = ("", ".mp4", ".MP4", ".mkv", ".webm", ".avi", ".mov")


@dataclass(frozen=True, slots=True)
class Hub:
    """Where a data set is published.

    Args:
        id: of the data set on the Hugging Face hub.
        annotations, videos: the files wanted of it, in words.
    """

    id: str
    annotations: str
    videos: str

    def root(self, folder: Path, *inner: str) -> Path:
        """`folder`, or the first of the `inner` folders that is in it.

        Raises:
            RushesError: there is no such folder.
        """
        if not folder.is_dir():
            raise RushesError(
                f"there is no folder {str(folder)!r}; download {self.id} from the Hugging Face hub into it: "
                f"{self.annotations}, and {self.videos}"
            )
        return next((folder / name for name in inner if (folder / name).is_dir()), folder)

    def annotation_files(self, root: Path, *patterns: str) -> list[Path]:
        """The files of the first pattern that has any, sorted.

        Raises:
            RushesError: no pattern has any.
        """
        for pattern in patterns:
            if found := sorted(path for path in root.glob(pattern) if path.is_file()):
                return found
        raise RushesError(
            f"{str(root)!r} holds no {' or '.join(patterns)}; download {self.annotations} of {self.id} from the "
            "Hugging Face hub into it"
        )

    def video_folders(self, root: Path, *names: str) -> list[Path]:
        """Those of the folders that are there.

        Raises:
            RushesError: none is.
        """
        if found := [root / name for name in names if (root / name).is_dir()]:
            return found
        raise RushesError(
            f"{str(root)!r} holds no folder {' or '.join(f'{name}/' for name in names)}; download {self.videos} of "
            f"{self.id} from the Hugging Face hub into it"
        )


def find_video(folders: Iterable[Path], name: str) -> Path | None:
    """The file of that name, with or without its suffix, in the first folder that has it."""
    for folder in folders:
        for suffix in SUFFIXES:
            if (file := folder / f"{name}{suffix}").is_file():
                return file
    return None


def video_or_skip(folders: Sequence[Path], name: str, sample: str, missing: Missing) -> Path | None:
    """As `find_video`; a video that is not there is told to `missing`."""
    video = find_video(folders, name)
    if video is None:
        if any((folder / name).is_dir() for folder in folders):
            reason = f"{name!r} is a folder of pictures; a video file is wanted"
        else:
            reason = f"no video {name!r} in {' or '.join(repr(str(folder)) for folder in folders)}"
        missing(Skipped(sample, reason))
    return video
