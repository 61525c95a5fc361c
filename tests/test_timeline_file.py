"""The file of a timeline is what its name says, whole or not there; what it cannot be is refused beforehand."""

import json
from pathlib import Path

import pytest
from PIL import Image

from rushes.errors import RushesError
from rushes.timeline_file import check_timeline, save_timeline
from test_timeline_picture import parallel


def test_by_the_name(tmp_path: Path) -> None:
    timeline = parallel(5)
    for name in ("a.png", "a.json", "b.PNG", "b.JSON"):
        save_timeline(timeline, tmp_path / name, "hippo")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "a.png", "b.JSON", "b.PNG"]
    assert Image.open(tmp_path / "b.PNG").format == "PNG"
    assert json.loads((tmp_path / "a.json").read_text()) == {"method": "hippo", **timeline.to_json()}
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.JSON").read_text()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.jpg", "a timeline ends in .png (a picture) or .json (its numbers); rename it"),
        ("a", "a timeline ends in .png"),
        (".png", "a timeline ends in .png"),
        ("none/a.png", "there is no folder .*none; make it, or choose another place"),
        ("folder", "is a folder; name a file in it, such as .*folder/timeline.png"),
        ("folder.png", "is a folder; name a file in it"),
        ("file/a.json", "cannot write here (Not a directory)"),
        ("x" * 300 + ".png", "cannot write here (File name too long)"),
    ],
)
def test_what_is_refused(tmp_path: Path, name: str, said: str) -> None:
    for folder in ("folder", "folder.png"):
        (tmp_path / folder).mkdir()
    (tmp_path / "file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    pattern = said.replace("(", r"\(").replace(")", r"\)")
    for act in (check_timeline, lambda path: save_timeline(parallel(2), path, "x")):
        with pytest.raises(RushesError, match=pattern) as error:
            act(tmp_path / name)
        assert "\n" not in str(error.value)
        assert str(error.value).startswith(str(tmp_path / name))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_place_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The suite may run as root, whom no permission stops.
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", denied)
    monkeypatch.setattr("tempfile.NamedTemporaryFile", denied)
    with pytest.raises(RushesError, match=r"cannot write here \(Permission denied\); choose another place"):
        check_timeline(tmp_path / "a.png")


def test_a_check_leaves_everything_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("the old one")
    check_timeline(tmp_path / "a.png")
    check_timeline(tmp_path / "b.json")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_text() == "the old one"


@pytest.mark.parametrize("name", ["a.png", "a.json"])
def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def full(_: object, file: Path, **__: object) -> None:
        Path(file).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    def full_text(file: Path, _: str) -> None:
        full(None, file)

    (tmp_path / name).write_text("the old one")
    monkeypatch.setattr(Image.Image, "save", full)
    monkeypatch.setattr(Path, "write_text", full_text)
    with pytest.raises(RushesError, match=r"cannot write here \(No space left on device\)"):
        save_timeline(parallel(2), tmp_path / name, "x")
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "the old one"
