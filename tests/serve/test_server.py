"""The real server, asked by the official client: answers are the library's own."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from PIL import Image

from rushes import Pair
from rushes.demo import bundled
from rushes.demo.held_out import held_out_clip, write_clip
from serve.running import Running, asked, data_url, running, video_part

pytestmark = pytest.mark.xdist_group("serve")
MODEL = "rushes-demo"
QUESTION = "Describe the video in detail."


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two drawn videos, of two scenes and of three."""
    folder = tmp_path_factory.mktemp("media")
    return [
        write_clip(held_out_clip(number, scenes, 1.0), folder / f"{number}.mp4") for number, scenes in ((1, 2), (2, 3))
    ]


@pytest.fixture(scope="module")
def server(clips: list[Path]) -> Iterator[Running]:
    with running("--media-dir", str(clips[0].parent), "--replicas", "1") as made:
        yield made


@pytest.fixture(scope="module")
def pair() -> Pair:
    return bundled.pair()


def complete(server: Running, messages: Any, **more: Any) -> Any:
    extra = {
        name: more.pop(name)
        for name in list(more)
        if name in ("method", "keep", "gamma", "reuse", "details", "top_k", "media_io_kwargs", "repetition_penalty")
    }
    more.setdefault("max_tokens", 48)
    return server.client().chat.completions.create(model=MODEL, messages=messages, extra_body=extra, **more)


def text_of(answer: Any) -> str:
    return str(answer.choices[0].message.content)


@pytest.mark.parametrize("method", ["ar", "sd", "specvlm", "parallelvlm", "hippo", "sage", "std"])
def test_an_answer_over_http_is_the_librarys(server: Running, pair: Pair, clips: list[Path], method: str) -> None:
    answer = complete(server, asked(data_url(clips[0]), QUESTION), method=method)
    wanted = pair.generate(clips[0], QUESTION, method=method, max_new_tokens=48)
    assert text_of(answer) == wanted.text
    assert answer.choices[0].finish_reason == wanted.finish_reason
    assert answer.usage.completion_tokens == len(wanted.token_ids)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.rushes["lossless"] is True
    assert answer.rushes["video_tokens"] == wanted.video_tokens
    assert answer.rushes["kept_tokens"] == len(wanted.kept_indices)
    speculation = answer.metrics["speculative_decoding"]
    assert speculation.keys() == wanted.metrics["speculative_decoding"].keys()
    assert (speculation["num_spec_steps"] > 0) is (method != "ar")


@pytest.mark.parametrize("include_usage", [False, True])
def test_a_stream_says_the_same_and_ends_with_usage(server: Running, clips: list[Path], include_usage: bool) -> None:
    messages = asked(data_url(clips[0]), QUESTION)
    whole = complete(server, messages)
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if include_usage else {}
    chunks = list(complete(server, messages, stream=True, **more))
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == text_of(whole)
    assert sum(bool(text) for text in texts) > 3
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[-1].metrics["speculative_decoding"]["num_spec_steps"] > 0
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert [reason for reason in reasons if reason] == [whole.choices[0].finish_reason]


def test_sampling_with_a_seed_is_the_librarys(server: Running, pair: Pair, clips: list[Path]) -> None:
    how = {"temperature": 0.8, "top_p": 0.9, "seed": 5}
    answer = complete(server, asked(data_url(clips[0]), QUESTION), top_k=20, method="specvlm", reuse=False, **how)
    wanted = pair.generate(clips[0], QUESTION, method="specvlm", top_k=20, max_new_tokens=48, **how)  # type: ignore[arg-type]
    assert text_of(answer) == wanted.text


def test_frames_are_those_that_were_asked_for(server: Running, pair: Pair, clips: list[Path]) -> None:
    for options in ({"num_frames": 4}, {"fps": 3.0}):
        answer = complete(server, asked(data_url(clips[1]), QUESTION), media_io_kwargs={"video": options})
        key, value = next(iter(options.items()))
        wanted = pair.generate(
            clips[1], QUESTION, max_new_tokens=48, **{"frames" if key == "num_frames" else key: value}
        )
        assert text_of(answer) == wanted.text
        assert answer.rushes["video_tokens"] == wanted.video_tokens


def test_a_loose_method_says_so(server: Running, clips: list[Path]) -> None:
    answer = complete(server, asked(data_url(clips[0]), QUESTION), method="lvspec", details=True)
    assert answer.rushes["lossless"] is False
    assert "".join(word["text"] for word in answer.rushes["words"]) == text_of(answer)


def test_a_follow_up_is_read_from_where_the_first_one_ended(server: Running, pair: Pair, clips: list[Path]) -> None:
    before = server.metrics()
    messages = asked(data_url(clips[1]), "How many scenes are there?")
    first = complete(server, messages, method="hippo", media_io_kwargs={"video": {"num_frames": 6}})
    messages += [
        {"role": "assistant", "content": text_of(first)},
        {"role": "user", "content": "What comes first?"},
    ]
    second, anew = (
        complete(server, messages, method="hippo", reuse=reuse, media_io_kwargs={"video": {"num_frames": 6}})
        for reuse in (True, False)
    )
    assert text_of(second) == text_of(anew)
    assert anew.usage.prompt_tokens_details.cached_tokens == 0
    assert second.usage.prompt_tokens_details.cached_tokens >= first.usage.prompt_tokens
    after = server.metrics()
    assert after["rushes_prefix_cache_hits_total"] - before["rushes_prefix_cache_hits_total"] == 1
    assert after["rushes_prefix_cache_misses_total"] - before["rushes_prefix_cache_misses_total"] == 1
    assert after["rushes_video_cache_hits_total"] - before["rushes_video_cache_hits_total"] == 2
    assert after["rushes_prefix_cache_bytes"] > 0


def test_files_below_the_media_folder_are_read_and_no_others(server: Running, clips: list[Path]) -> None:
    inside = complete(server, asked(clips[0].as_uri(), QUESTION))
    assert text_of(inside) == text_of(complete(server, asked(data_url(clips[0]), QUESTION)))
    for url in (
        "file:///etc/passwd",
        f"file://{clips[0].parent}/../x.mp4",
        "http://127.0.0.1/x",
        "https://127.0.0.1/x",
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            complete(server, asked(url, QUESTION))
        assert "/" not in refused.value.body["message"].replace("and/or", "")  # type: ignore[index]


def test_pictures_several_videos_text_alone_and_a_system_message(
    server: Running, clips: list[Path], tmp_path: Path
) -> None:
    Image.fromarray(np.full((60, 80, 3), 128, np.uint8)).save(tmp_path / "grey.png")
    picture = {"type": "image_url", "image_url": {"url": data_url(tmp_path / "grey.png", "image/png")}}
    question = {"type": "text", "text": QUESTION}
    for content in (
        [picture, question],
        [video_part(data_url(clips[0])), video_part(data_url(clips[1])), picture, question],
        QUESTION,
    ):
        messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": content}]
        answer = complete(server, messages, max_tokens=8)
        assert answer.usage.completion_tokens > 0
        again = complete(server, messages, max_tokens=8, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in again) == text_of(answer)


def test_a_stop_text_ends_the_answer_and_is_not_in_it(server: Running, clips: list[Path]) -> None:
    messages = asked(data_url(clips[0]), QUESTION)
    whole = text_of(complete(server, messages))
    stop = whole.split(".")[0][-5:] + "."
    for stream in (False, True):
        made = complete(server, messages, stop=["@@", stop], stream=stream)
        if stream:
            chunks = list(made)
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            reason = chunks[-1].choices[0].finish_reason
        else:
            text, reason = text_of(made), made.choices[0].finish_reason
        assert text == whole[: whole.index(stop)]
        assert reason == "stop"


def test_details_end_where_the_answer_does(server: Running, clips: list[Path]) -> None:
    messages = asked(data_url(clips[0]), QUESTION)
    whole = complete(server, messages, details=True)
    stop = text_of(whole).split()[4]
    cut = complete(server, messages, details=True, stop=[stop])
    shown = "".join(word["text"] for word in cut.rushes["words"])
    assert text_of(cut).startswith(shown)
    assert len(shown) >= len(text_of(cut)) - len(stop)
    assert "".join(word["text"] for word in whole.rushes["words"]) == text_of(whole)
    never = complete(server, messages, details=True, stop=["nowhere"])
    assert never.rushes["words"] == whole.rushes["words"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 2}, "n is not supported"),
        ({"logprobs": True}, "logprobs is not supported"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools is not supported"),
        ({"response_format": {"type": "json_object"}}, "response_format is not supported"),
        ({"logit_bias": {"5": 1}}, "logit_bias is not supported"),
        ({"frequency_penalty": 0.5}, "frequency_penalty is not supported"),
        ({"extra_body": {"method": "specvml"}}, "did you mean 'specvlm'"),
        ({"extra_body": {"kepp": 0.1}}, "kepp: not known here"),
        ({"extra_body": {"keep": 1.5}}, "keep"),
        ({"extra_body": {"media_io_kwargs": {"video": {"num_frames": 5000}}}}, "the limit is 768"),
        ({"max_tokens": 5000}, "the limit is 4096"),
        ({"temperature": 0.5, "extra_body": {"method": "lvspec"}}, "leave the temperature at 0"),
        ({"extra_body": {"repetition_penalty": 1e-40}}, "repetition_penalty"),
        ({"extra_body": {"method": "x" * 600}}, "method"),
    ],
)
def test_what_is_not_done_is_refused_with_the_reason(
    server: Running, clips: list[Path], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        server.client().chat.completions.create(model=MODEL, messages=asked(data_url(clips[0]), QUESTION), **options)
    assert words in refused.value.body["message"]  # type: ignore[index]
    assert refused.value.body["type"] == "invalid_request_error"  # type: ignore[index]


def test_neutral_values_of_what_is_not_done_are_accepted(server: Running) -> None:
    answer = complete(
        server,
        asked(None, "Hello"),
        max_tokens=2,
        n=1,
        logprobs=False,
        frequency_penalty=0,
        presence_penalty=0,
        response_format={"type": "text"},
        tool_choice="none",
        user="somebody",
    )
    assert answer.choices[0].finish_reason in ("stop", "length")


def test_another_model_is_not_there(server: Running) -> None:
    assert [model.id for model in server.client().models.list()] == [MODEL]
    assert server.client().models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError, match="there is no model of that name"):
        server.client().chat.completions.create(model="gpt", messages=asked(None, "Hello"))  # type: ignore[arg-type]
    with pytest.raises(openai.NotFoundError):
        server.client().models.retrieve("gpt")


def eventually(true: Callable[[], bool], within_s: float = 30) -> None:
    """Wait for something that happens after an answer was sent."""
    until = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_client_that_goes_away_frees_the_pair(server: Running, clips: list[Path]) -> None:
    before, cancelled = server.metrics(), "rushes_requests_cancelled_total"
    stream = complete(
        server, asked(data_url(clips[1]), QUESTION), stream=True, max_tokens=1000, method="ar", reuse=False
    )
    for _, _chunk in zip(range(3), stream, strict=False):
        pass
    stream.close()
    eventually(lambda: server.metrics()[cancelled] == before[cancelled] + 1)
    eventually(lambda: server.metrics()["rushes_num_requests_running"] == 0)
    written = server.metrics()["rushes_generation_tokens_total"]
    assert written == before["rushes_generation_tokens_total"]  # it was not answered to its end
    assert text_of(complete(server, asked(None, "Hello"), max_tokens=2)) is not None


def test_requests_of_many_clients_at_once_are_all_answered(server: Running, pair: Pair, clips: list[Path]) -> None:
    wanted = [pair.generate(clip, QUESTION, max_new_tokens=24).text for clip in clips]
    with ThreadPoolExecutor(8) as clients:
        jobs = [
            clients.submit(complete, server, asked(data_url(clips[i % 2]), QUESTION), max_tokens=24) for i in range(8)
        ]
        assert [text_of(job.result()) for job in jobs] == wanted * 4


def test_logs_are_lines_of_json_without_content(server: Running, clips: list[Path]) -> None:
    complete(server, asked(data_url(clips[0]), "What about the zebra?"), max_tokens=4)
    eventually(lambda: any(line.get("completion_tokens") == 4 for line in map(json.loads, server.log[1:])))
    assert "zebra" not in "\n".join(server.log)


def test_health(server: Running) -> None:
    with urllib.request.urlopen(f"{server.address}/health", timeout=10) as answer:
        assert json.load(answer) == {"status": "ok"}
        assert answer.headers["x-request-id"]
