"""Content parts are fetched from where they may be, and a refusal tells nothing about what is elsewhere."""

import asyncio
import base64
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from rushes.serve.limits import Limits
from rushes.serve.media import MediaSource, Medium
from rushes.serve.refusals import Refusal

VIDEO = bytes(range(256)) * 3


def fetch(url: str, kind: str = "video", source: MediaSource | None = None) -> Medium:
    return asyncio.run((source or MediaSource(Limits())).fetch(url, kind, "messages[0].content[1]"))


def refused(call: Callable[[], object], *words: str, status: int = 400) -> Refusal:
    with pytest.raises(Refusal) as caught:
        call()
    assert caught.value.status == status
    assert caught.value.param == "messages[0].content[1]"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    for word in words:
        assert word in caught.value.message
    return caught.value


# --- data: ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ("data:video/mp4;base64,", "video"),
        ("DATA:Video/MP4;BASE64,", "video"),
        ("data:video/webm;codecs=vp9;base64,", "video"),
        ("data:application/octet-stream;base64,", "image"),
        ("data:image/svg+xml;base64,", "image"),
    ],
)
def test_base64(head: str, kind: str) -> None:
    medium = fetch(head + base64.b64encode(VIDEO).decode(), kind)
    assert medium == Medium(kind, VIDEO, hashlib.sha256(kind.encode() + VIDEO).hexdigest())  # type: ignore[arg-type]
    assert len(repr(medium)) < 200


def test_percent_encoding() -> None:
    assert fetch("data:video/mp4," + quote(VIDEO, safe="")).data == VIDEO
    assert fetch("data:video/mp4;base64," + quote(base64.b64encode(VIDEO), safe="")).data == VIDEO


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("data:", "must look like"),
        ("data:,abc", "must look like"),
        ("data:;base64,QUJD", "must look like"),
        ("data:video/mp4;base64", "must look like"),
        ("data:" + "a" * 10_000 + ",abc", "must look like"),
        ("data:video/mp4;a=" + "b" * 10_000 + ";base64,QUJD", "must look like"),
        ("data:video/mp4;base64;base64;;,QUJD", "must look like"),
        ("data:video\n/mp4;base64,QUJD", "must look like"),
        ("data:image/png;base64,QUJD", "video/*"),
        ("data:text/html;base64,QUJD", "video/*"),
        ("data:video/mp4;base64,", "nothing in it"),
        ("data:video/mp4,", "nothing in it"),
        ("data:video/mp4;base64,QUJ", "not valid base64"),
        ("data:video/mp4;base64,QUJDRA", "not valid base64"),
        ("data:video/mp4;base64,QU JD", "not valid base64"),
        ("data:video/mp4;base64,QUJD\n", "not valid base64"),
        ("data:video/mp4;base64,QU==QUJD", "not valid base64"),
        ("data:video/mp4;base64,QUJ_", "not valid base64"),
        ("data:video/mp4;base64,%00%01%02", "not valid base64"),
        ("data:video/mp4;base64,ÄÖÜß", "not valid base64"),
        ("data:video/mp4;base64,\ud800AAA", "not valid base64"),
        ("data:video/mp4,%", "not valid percent-encoding"),
        ("data:video/mp4,%4", "not valid percent-encoding"),
        ("data:video/mp4,%zz", "not valid percent-encoding"),
        ("data:video/mp4,ä", "not valid percent-encoding"),
        ("data:video/mp4,\ud800", "not valid percent-encoding"),
        ("data:video/mp4," + "a" * (2**20 + 1), "must come as base64"),
    ],
)
def test_bad_data_urls(url: str, words: str) -> None:
    refused(lambda: fetch(url), words)


def test_data_of_the_largest_size_and_one_more() -> None:
    source = MediaSource(Limits(video_bytes=1000, image_bytes=10))
    for encode in (lambda data: ";base64," + base64.b64encode(data).decode(), lambda data: "," + quote(data, safe="")):
        for size in (998, 999, 1000):
            assert len(fetch("data:video/mp4" + encode(bytes(size)), source=source).data) == size
        for size in (1001, 1002, 1003, 100_000):
            url = "data:video/mp4" + encode(bytes(size))
            assert refused(lambda url=url: fetch(url, source=source), "larger than", status=413).code == "too_large"
        too_large = "data:image/png" + encode(bytes(11))
        refused(lambda url=too_large: fetch(url, "image", source), "the image is larger", status=413)


@pytest.mark.parametrize("url", ["", "x", ":", "http://h.test/a", "ftp://h.test/a", "/etc/passwd", "a.mp4", "blob:1",
                                 "javascript:1", " data:video/mp4;base64,QUJD", "gopher://h", "s3://b/k"])  # fmt: skip
def test_other_schemes(url: str) -> None:
    error = refused(lambda: fetch(url), "data:, https: or file:")
    assert "passwd" not in error.message


def test_https_needs_a_flag() -> None:
    refused(lambda: fetch("https://media.test/secret.mp4"), "--allow-remote")


# --- file: ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    below = tmp_path / "media"
    (below / "sub").mkdir(parents=True)
    (below / "a.mp4").write_bytes(VIDEO)
    (below / "sub" / "b ä%.mp4").write_bytes(b"b")
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (tmp_path / "media2").mkdir()
    (tmp_path / "media2" / "c.mp4").write_bytes(b"secret")
    return below


def below(folder: Path, limits: Limits | None = None) -> MediaSource:
    return MediaSource(limits or Limits(), media_dir=folder)


def test_files_below_the_folder(folder: Path) -> None:
    for url in (f"file://{folder}/a.mp4", f"file:{folder}/a.mp4", f"FILE://localhost{folder}/a.mp4"):
        assert fetch(url, source=below(folder)).data == VIDEO
    assert fetch(f"file://{quote(str(folder))}/sub/b%20%C3%A4%25.mp4", source=below(folder)).data == b"b"
    same = fetch("data:video/mp4;base64," + base64.b64encode(VIDEO).decode())
    assert fetch(f"file://{folder}/a.mp4", source=below(folder)).digest == same.digest


def test_links_that_stay_inside_are_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "link.mp4").symlink_to("a.mp4")
    (folder / "sub" / "up").symlink_to(folder)
    for name in ("link.mp4", "sub/up/a.mp4"):
        assert fetch(f"file://{folder}/{name}", source=below(folder)).data == VIDEO
    (tmp_path / "alias").symlink_to(folder)
    for named in (tmp_path / "alias", folder):  # by the name that the operator gave, and by the real one
        assert fetch(f"file://{named}/a.mp4", source=below(tmp_path / "alias")).data == VIDEO


def test_whatever_is_not_below_the_folder_is_one_and_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "out.mp4").symlink_to(tmp_path / "secret.mp4")
    (folder / "outdir").symlink_to(tmp_path)
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("/nowhere/at/all")
    (folder / "null").symlink_to("/dev/null")
    os.mkfifo(folder / "fifo")
    monkeypatch.chdir(folder)
    urls = [f"file://{folder}/{name}" for name in ("none.mp4", "out.mp4", "outdir/secret.mp4", "outdir/none", "loop")]
    urls += [f"file://{folder}/{name}" for name in ("dangling", "null", "fifo", "sub", "sub/", "", ".", "a.mp4/b")]
    urls += [f"file://{folder}/{name}" for name in ("../secret.mp4", "sub/../a.mp4", "%2e%2e/secret.mp4", "./a.mp4")]
    urls += [f"file://{folder}/{name}" for name in ("..%2fsecret.mp4", "%252e%252e/secret.mp4", "a.mp4%00", "a.mp4\0")]
    urls += [f"file://{folder}/{name}" for name in ("a.mp4?x", "a.mp4#x", "a%zz.mp4", "%ff%fe", "\ud800", "x" * 5000)]
    urls += [f"file://{folder}{name}" for name in ("", "2/c.mp4", "2", "//../secret.mp4")]
    urls += [f"file://{tmp_path}/{name}" for name in ("secret.mp4", "none.mp4")]
    urls += [
        f"file://host.test{folder}/a.mp4",
        f"file://127.0.0.1{folder}/a.mp4",
        f"file://user@localhost{folder}/a.mp4",
    ]
    urls += ["file:", "file:/", "file://", "file:///", "file:a.mp4", "file:./a.mp4", "file:///etc/passwd", "file:////"]
    urls += ["file:///dev/zero", "file:///proc/self/environ", "file://a.mp4", f"file:////{folder}/a.mp4"]
    before = len(os.listdir("/dev/fd"))
    messages = {refused(lambda url=url: fetch(url, source=below(folder))).message for url in urls}
    assert messages == {"there is no such file below the server's media folder"}
    assert len(os.listdir("/dev/fd")) == before


def test_a_link_laid_between_the_check_and_the_opening(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder on the way is exchanged for a link to the outside once its real path is known."""
    (tmp_path / "b ä%.mp4").write_bytes(b"secret")
    real = os.path.realpath

    def realpath(path: str) -> str:
        found = real(path)
        if found.endswith("mp4"):
            (folder / "sub").rename(tmp_path / "moved")
            (folder / "sub").symlink_to(tmp_path)
        return found

    source = below(folder)
    monkeypatch.setattr("os.path.realpath", realpath)
    refused(lambda: fetch(f"file://{folder}/sub/b%20%C3%A4%25.mp4", source=source), "no such file")


def test_files_of_the_largest_size_and_one_more(folder: Path) -> None:
    limits = Limits(video_bytes=len(VIDEO))
    assert fetch(f"file://{folder}/a.mp4", source=below(folder, limits)).data == VIDEO
    smaller = below(folder, Limits(video_bytes=len(VIDEO) - 1))
    refused(lambda: fetch(f"file://{folder}/a.mp4", source=smaller), "larger than", status=413)
    with open(folder / "huge.mp4", "wb") as file:
        file.truncate(2**40)
    refused(lambda: fetch(f"file://{folder}/huge.mp4", source=below(folder)), "512 MiB", status=413)


def test_files_need_a_folder(folder: Path) -> None:
    refused(lambda: fetch(f"file://{folder}/a.mp4"), "--media-dir")
