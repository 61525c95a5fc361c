"""Downloads go to public addresses alone, at every redirect anew, and end within a time and a size."""

import asyncio
import ssl
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from https_server import Answer, Server, contexts, ok, redirect, running

from rushes.serve.addresses import SystemResolver, is_public
from rushes.serve.limits import Limits
from rushes.serve.media import MediaSource
from rushes.serve.refusals import Refusal
from rushes.serve.remote import Remote

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    return contexts(tmp_path_factory.mktemp("tls"), "media.test", "other.test", "inside.test", "localhost")


class Names:
    """A resolver that answers what it is told, one answer after the other and the last again and again."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): given for name, given in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        given = self.answers.get(host, [["127.0.0.1"]])
        return given.pop(0) if len(given) > 1 else given[0]


def public_or_server(address: Any) -> bool:
    """Loopback's first address stands for the public internet here."""
    return is_public(address) or address == ip_address("127.0.0.1")


def download(
    tls: Contexts,
    answers: dict[str, Answer],
    url: str = "https://media.test/a.mp4",
    *,
    names: Names | None = None,
    most_bytes: int = 10_000,
    plain: bool = False,
    **limits: Any,
) -> tuple[bytes | Refusal, Server]:
    async def run() -> tuple[bytes | Refusal, Server]:
        async with running(answers, None if plain else tls[0]) as server:
            remote = Remote(
                Limits(**limits), resolve=names or Names(), allowed=public_or_server, tls=tls[1], port=server.port
            )
            try:
                return await remote.get(url, most_bytes, "the field"), server
            except Refusal as error:
                return error, server

    return asyncio.run(run())


def refused(done: tuple[bytes | Refusal, Server], words: str, status: int = 400) -> Server:
    error, server = done
    assert isinstance(error, Refusal)
    assert words in error.message
    assert (error.status, error.param) == (status, "the field")
    assert error.__suppress_context__ or error.__context__ is None
    for secret in ("media.test", "inside.test", "127.0", "10.0", "a.mp4", "secret"):
        assert secret not in error.message
    return server


# --- addresses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254"),
        *("0.0.0.0", "0.1.2.3", "100.64.0.1", "100.127.255.255", "100.100.100.200", "192.0.0.192", "192.0.2.1"),
        *("198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "192.88.99.1"),
        *("255.255.255.255", "168.63.129.16", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254"),
        *("ff02::1", "fec0::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1"),
        *("64:ff9b::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::808:808", "2002:7f00:1::", "2002:808:808::1"),
        *("2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2001:2::1", "2001:10::1", "3fff::1", "100::1"),
        *("5f00::1", "4000::1", "2606:4700::1%2"),
    ],
)
def test_what_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "100.63.0.1", "100.128.0.1", "172.32.0.1", "192.1.1.1", "223.255.255.255", "2606:4700::1111",
     "2a00:1450:4001::1", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"],
)  # fmt: skip
def test_what_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "addresses",
    [["10.0.0.1"], ["::1"], ["169.254.169.254"], ["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"],
     ["::ffff:10.0.0.1"], ["fe80::1%1"]],
)  # fmt: skip
def test_names_that_lead_inside(tls: Contexts, addresses: list[str]) -> None:
    server = refused(download(tls, {}, names=Names(media_test=[addresses])), "not at a public address")
    assert server.connections == 0


def test_the_real_resolver_and_the_real_rule(tls: Contexts) -> None:
    async def run() -> None:
        async with running({"/": ok(b"inside")}, tls[0]) as server:
            for remote in (Remote(Limits(), port=server.port, tls=tls[1]), Remote(Limits(), resolve=SystemResolver())):
                with pytest.raises(Refusal, match="not at a public address"):
                    await remote.get("https://localhost/", 100)
            assert server.connections == 0

    asyncio.run(run())


def test_a_name_that_changes_after_the_check(tls: Contexts) -> None:
    """DNS rebinding: what was checked is connected to, and a second look-up happens for a second connection only."""
    names = Names(media_test=[["127.0.0.1"], ["10.0.0.1"]])
    assert download(tls, {"/a.mp4": ok(b"video")}, names=names)[0] == b"video"
    assert names.asked == ["media.test"]
    names = Names(media_test=[["127.0.0.1"], ["10.0.0.1"]])
    server = refused(download(tls, {"/a.mp4": redirect("/b.mp4")}, names=names), "not at a public address")
    assert names.asked == ["media.test", "media.test"]
    assert server.connections == 1


def test_names_without_addresses(tls: Contexts) -> None:
    for answer in ([[]], [["no address"]]):
        refused(download(tls, {}, names=Names(media_test=answer)), "cannot be reached")

    async def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    remote = Remote(Limits(), resolve=unknown)
    with pytest.raises(Refusal, match="cannot be reached"):
        asyncio.run(remote.get("https://media.test/", 10))


# --- URLs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://127.0.0.1/a", "not an address"),
        ("https://[::1]/a", "not an address"),
        ("https://[::ffff:127.0.0.1]/a", "not an address"),
        ("https://2130706433/a", "not an address"),
        ("https://0x7f000001/a", "not an address"),
        ("https://0x7f.1/a", "not an address"),
        ("https://0177.0.0.1/a", "not an address"),
        ("https://127.1/a", "not an address"),
        ("https://0/a", "not an address"),
        ("https://8.8.8.8/a", "not an address"),
        ("https://media.test.0x1/a", "not an address"),
        ("https://127.0.0.1./a", "not an address"),
        ("https:///a", "not an address"),
        ("https://", "not an address"),
        ("https:media.test/a", "not an address"),
        ("https://media..test/a", "not an address"),
        ("https://me%64ia.test/a", "not an address"),
        ("https://-media.test/a", "not an address"),
        ("https://media.test;x/a", "not an address"),
        ("https://" + "a" * 64 + ".test/", "not an address"),
        ("https://" + "a." * 200 + "test/", "not an address"),
        ("https://user:secret@media.test/a", "user or a password"),
        ("https://@media.test/a", "user or a password"),
        ("https://media.test@127.0.0.1/a", "user or a password"),
        ("https://media.test:8443/a", "only port 443"),
        ("https://media.test:0/a", "only port 443"),
        ("https://media.test:99999/a", "malformed"),
        ("https://media.test:x/a", "malformed"),
        ("https://[media.test/a", "malformed"),
        ("https://media.test\\@127.0.0.1/a", "characters"),
        ("https://media.test/a b", "characters"),
        ("https://media.test/a\r\nHost: inside.test", "characters"),
        ("https://media.test/\0", "characters"),
        ("https://mediä.test/a", "characters"),
        ("https://\uff11\uff12\uff17.0.0.1/a", "characters"),
        ("https://127\u30020\u30020\u30021/a", "characters"),
        ("https://media.test/\ud800", "characters"),
        ("https://media.test/" + "a" * 9000, "characters"),
        ("http://media.test/a", "only https"),
    ],
)
def test_urls_that_are_not_followed(tls: Contexts, url: str, words: str) -> None:
    names = Names()
    server = refused(download(tls, {}, url, names=names), words)
    assert (names.asked, server.connections) == ([], 0)


def test_what_is_asked_of_the_server(tls: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    url = "https://MEDIA.test:443/a.mp4?b=%20c&d#fragment"
    body, server = download(tls, {"/a.mp4?b=%20c&d": ok(b"video")}, url)
    assert body == b"video"
    [(name, request)] = server.asked
    assert name == "media.test"
    lines = request.split("\r\n")
    assert lines[0] == "GET /a.mp4?b=%20c&d HTTP/1.1"
    assert {line.partition(":")[0] for line in lines[1:] if line} == {"Host", "Accept", "Accept-Encoding", "User-Agent"}
    assert "Host: media.test" in lines
    assert "Accept-Encoding: identity" in lines


def test_certificates_are_checked(tls: Contexts, tmp_path: Path) -> None:
    refused(download(tls, {"/": ok(b"")}, "https://another.test/"), "cannot be reached over https")
    stranger = contexts(tmp_path, "media.test")
    refused(download((stranger[0], tls[1]), {"/": ok(b"")}, "https://media.test/"), "cannot be reached over https")


# --- redirects --------------------------------------------------------------------------------------------------


def test_redirects_are_followed_and_checked(tls: Contexts) -> None:
    answers: dict[str, Answer] = {
        "/a.mp4": redirect("/b/c?d", 301),
        "/b/c?d": redirect("e", 307),
        "/b/e": redirect("https://other.test/f#x", 308),
        "/f": ok(b"video"),
    }
    names = Names()
    body, server = download(tls, answers, names=names)
    assert body == b"video"
    assert names.asked == ["media.test"] * 3 + ["other.test"]
    assert [name for name, _ in server.asked] == names.asked
    refused(download(tls, answers, redirects=2), "more than 2 times")
    refused(download(tls, answers, redirects=0), "more than 0 times")


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("https://inside.test/secret", "not at a public address"),
        ("//inside.test/secret", "not at a public address"),
        ("https://169.254.169.254/latest/meta-data", "not an address"),
        ("https://[::1]/", "not an address"),
        ("http://media.test/a.mp4", "only https"),
        ("file:///etc/passwd", "only https"),
        ("data:video/mp4;base64,AAAA", "only https"),
        ("https://media.test:22/", "only port 443"),
        ("https://user@media.test/", "user or a password"),
        ("", "redirects to nowhere"),
        ("\xe4", "redirects to nowhere"),
        ("a b", "redirects to nowhere"),
        ("https://[/", "malformed"),
        ("/a.mp4", "more than 3 times"),
    ],
)
def test_redirects_that_are_not_followed(tls: Contexts, location: str, words: str) -> None:
    names = Names(inside_test=[["10.0.0.1"]])
    server = refused(download(tls, {"/a.mp4": redirect(location)}, names=names), words)
    assert server.connections == (4 if location == "/a.mp4" else 1)


# --- bodies -----------------------------------------------------------------------------------------------------


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + bytes(4096) + b"\r\n")
        await writer.drain()


async def endless_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X: " + b"y" * 4096 + b"\r\n")
        await writer.drain()


async def dripping(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(100):
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.1)


async def silent(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(10)


async def dripping_informational(writer: asyncio.StreamWriter) -> None:
    for _ in range(100):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


def test_sizes(tls: Contexts) -> None:
    assert download(tls, {"/a.mp4": ok(bytes(10_000))})[0] == bytes(10_000)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert download(tls, {"/a.mp4": chunked})[0] == b"abcde"
    until_closed = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"
    assert download(tls, {"/a.mp4": until_closed}, most_bytes=3)[0] == b"abc"
    for answer in (ok(bytes(10_001)), ok(b"", length=10**15), until_closed + bytes(10_000), endless):
        refused(download(tls, {"/a.mp4": answer}), "larger than", 413)


def test_answers_that_are_not_whole(tls: Contexts) -> None:
    for answer in (ok(b"abc", length=10), b"", b"HTTP/1.1 200", b"garbage\r\n\r\n", ok(b"", "Content-Length: 7")):
        refused(download(tls, {"/a.mp4": answer}), "broke the connection off")
    refused(download(tls, {"/a.mp4": endless_headers}), "broke the connection off")
    assert download(tls, {"/a.mp4": ok(b"abcdef", length=3)})[0] == b"abc"  # what is behind it is not read


def test_other_answers(tls: Contexts) -> None:
    for status in (204, 206, 304, 400, 401, 404, 500, 503):
        answer = f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n".encode()
        refused(download(tls, {"/a.mp4": answer}), f"status {status}")
    refused(download(tls, {"/a.mp4": ok(b"abc", "Content-Encoding: gzip")}), "compressed")
    assert download(tls, {"/a.mp4": ok(b"abc", "Content-Encoding: Identity")})[0] == b"abc"


@pytest.mark.parametrize("answer", [dripping, silent, dripping_informational])
def test_slow_answers(tls: Contexts, answer: Callable[..., Any]) -> None:
    refused(download(tls, {"/a.mp4": answer}, download_s=1), "longer than 1 s")


def test_a_server_that_never_shakes_hands(tls: Contexts) -> None:
    refused(download(tls, {"/a.mp4": silent}, plain=True, download_s=1), "longer than 1 s")


def test_a_few_at_once_and_none_after_a_cancellation(tls: Contexts) -> None:
    async def run() -> None:
        async with running({"/a": silent}, tls[0]) as server:
            remote = Remote(
                Limits(), resolve=Names(), allowed=public_or_server, tls=tls[1], port=server.port, at_once=2
            )
            tasks = [asyncio.create_task(remote.get("https://media.test/a", 10)) for _ in range(5)]
            async with asyncio.timeout(20):
                while len(server.asked) < 2:
                    await asyncio.sleep(0.02)
            await asyncio.sleep(0.2)
            assert server.connections == 2
            for task in tasks:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(error, asyncio.CancelledError) for error in done)

    asyncio.run(run())


def test_media_from_the_internet(tls: Contexts) -> None:
    async def run() -> None:
        async with running({"/a": ok(b"video"), "/b": ok(bytes(101))}, tls[0]) as server:
            limits = Limits(video_bytes=100)
            remote = Remote(limits, resolve=Names(), allowed=public_or_server, tls=tls[1], port=server.port)
            source = MediaSource(limits, allow_remote=True, remote=remote)
            assert (await source.fetch("HTTPS://media.test/a", "video", "x")).data == b"video"
            with pytest.raises(Refusal) as caught:
                await source.fetch("https://media.test/b", "video", "x")
            assert caught.value.status == 413

    asyncio.run(run())
