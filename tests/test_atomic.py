"""A file is there whole or not at all, and the folder stays clean."""

import os
import stat
from pathlib import Path

import pytest

from rushes.atomic import make_folder, whole
from rushes.errors import RushesError


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with whole(path) as temporary:
        temporary.write_text("{}")
        assert temporary.parent == tmp_path, "a rename across file systems would not be one step"
        assert temporary.suffix == ".json"
        assert not path.exists()
    assert path.read_text() == "{}"
    assert names(tmp_path) == ["results.json"]


def test_it_replaces_what_was_there_at_the_end_only(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with whole(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()], ids=repr)
def test_a_failure_leaves_nothing_behind(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted() -> None:
        with whole(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        interrupted()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_it_has_the_rights_of_a_file_written_plainly(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with whole(tmp_path / "a.txt") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(RushesError, match="cannot write here"), whole(tmp_path / "none" / "a.txt"):
        pytest.fail("there is nothing to write to")
    (tmp_path / "folder").mkdir()
    with pytest.raises(RushesError, match="cannot write here"), whole(tmp_path / "folder") as temporary:
        temporary.write_text("x")
    assert names(tmp_path) == ["folder"]


def test_folders_are_made_or_refused(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b").is_dir()
    assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b", "one that is there is fine"
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "in"):
        with pytest.raises(RushesError, match="choose another --out"):
            make_folder(path)
