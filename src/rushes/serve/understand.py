"""From the body of a request to a job, or to the reason why not."""

from collections.abc import Sequence

from rushes.errors import RushesError
from rushes.serve.config import Config
from rushes.serve.engine import spoken
from rushes.serve.fetching import place
from rushes.serve.job import Job, Link, Said
from rushes.serve.media import Medium
from rushes.serve.refusals import Refusal
from rushes.serve.schema import ChatMessage, ChatRequest, ImagePart, TextPart
from rushes.settings import Settings

DEFAULT_TOKENS = 256
_CHARACTERS_PER_TOKEN = 8  # about twice what text has; what is longer is not worth cutting into tokens

# Field -> what it may hold, and what is missing here otherwise.
_NEUTRAL: dict[str, tuple[tuple[object, ...], str]] = {
    "n": ((1,), "one answer for each request; send the request again for another one"),
    "logprobs": ((False,), "no log-probabilities: drafted tokens are compared, not scored"),
    "top_logprobs": ((0,), "no log-probabilities: drafted tokens are compared, not scored"),
    "logit_bias": (({},), "no bias on tokens"),
    "frequency_penalty": ((0,), "no frequency penalty; repetition_penalty is known"),
    "presence_penalty": ((0,), "no presence penalty; repetition_penalty is known"),
    "tools": (([],), "no tool calls"),
    "tool_choice": (("none", "auto"), "no tool calls"),
    "functions": (([],), "no function calls"),
    "function_call": (("none", "auto"), "no function calls"),
    "response_format": (({"type": "text"},), "no structured output; ask for text"),
    "modalities": ((["text"], []), "text answers only"),
    "audio": ((), "text answers only"),
    "prediction": ((), "no predicted outputs; the draft model predicts"),
    "web_search_options": ((), "no web search"),
    "reasoning_effort": (("none",), "no reasoning modes"),
    "store": ((False,), "nothing is stored"),
}


def refuse_unsupported(body: ChatRequest) -> None:
    """Refuse what OpenAI's API knows and this server does not do.

    Raises:
        Refusal: With the field.
    """
    for name, (neutral, words) in _NEUTRAL.items():
        value = getattr(body, name)
        if value is not None and value not in neutral:
            raise Refusal(f"{name} is not supported: {words}", param=name, code="unsupported_parameter")


def settings_of(body: ChatRequest, config: Config) -> Settings:
    """How to answer.

    Raises:
        Refusal: A value out of range, or values that do not go together.
    """
    most = config.limits.new_tokens
    wanted = body.max_completion_tokens if body.max_tokens is None else body.max_tokens
    if wanted is not None and wanted > most:
        raise Refusal(f"max_tokens is {wanted}, the limit is {most}", param="max_tokens")
    try:
        return Settings(
            method=config.method if body.method is None else body.method,
            keep=config.keep if body.keep is None else body.keep,
            gamma=config.gamma if body.gamma is None and body.method is None else body.gamma,
            max_new_tokens=min(DEFAULT_TOKENS, most) if wanted is None else wanted,
            temperature=body.temperature or 0.0,
            top_p=1.0 if body.top_p is None else body.top_p,
            top_k=body.top_k or 0,
            repetition_penalty=body.repetition_penalty,
            seed=body.seed,
            positions=config.positions,
        )
    except RushesError as error:
        raise Refusal(spoken(error)) from None


def job_of(body: ChatRequest, config: Config, *, request_id: str, client: str) -> Job:
    """Understand a request; nothing is fetched yet.

    Raises:
        Refusal: What cannot be done, in a sentence.
    """
    if body.model != config.model:
        raise Refusal(
            f"there is no model of that name; this server has {config.model}",
            status=404,
            param="model",
            code="model_not_found",
        )
    refuse_unsupported(body)
    settings = settings_of(body, config)
    video = None if body.media_io_kwargs is None else body.media_io_kwargs.video
    num_frames, fps = (None, None) if video is None else (video.num_frames, video.fps)
    if num_frames is not None and fps is not None:
        raise Refusal("num_frames and fps exclude each other; give one of them", param="media_io_kwargs.video")
    if num_frames is not None and num_frames > config.limits.frames:
        raise Refusal(
            f"{num_frames} frames were asked for, the limit is {config.limits.frames}", param="media_io_kwargs.video"
        )
    if body.messages[-1].role != "user":
        raise Refusal("the last message must be the user's", param="messages")
    check_size(body.messages, config)
    stop = [body.stop] if isinstance(body.stop, str) else body.stop or []
    return Job(
        id=request_id,
        turns=tuple(_said(message, i) for i, message in enumerate(body.messages)),
        settings=settings,
        num_frames=num_frames,
        fps=fps,
        stop=tuple(stop),
        reuse=body.reuse is not False,
        details=bool(body.details),
        client=client,
    )


def check_size(messages: Sequence[ChatMessage], config: Config) -> None:
    """Refuse more files or more text than the limits allow, before anything is done with them.

    Raises:
        Refusal: With the limit.
    """
    parts = [part for message in messages if not isinstance(message.content, str) for part in message.content]
    for kind, most in (("video_url", config.limits.videos), ("image_url", config.limits.images)):
        count = sum(part.type == kind for part in parts)
        if count > most:
            what = "videos" if kind == "video_url" else "images"
            raise Refusal(f"the request has {count} {what}, the limit is {most}", param="messages")
    texts = [message.content for message in messages if isinstance(message.content, str)]
    length = sum(map(len, texts)) + sum(len(part.text) for part in parts if isinstance(part, TextPart))
    most = config.limits.prompt_tokens * _CHARACTERS_PER_TOKEN
    if length > most:
        raise Refusal(
            f"the text has {length} characters, the limit is {most}; send less",
            param="messages",
            code="context_length_exceeded",
        )


def _said(message: ChatMessage, turn: int) -> Said:
    role = "system" if message.role == "developer" else message.role
    if isinstance(message.content, str):
        return Said(role, (message.content,))
    parts: list[str | Link | Medium] = []
    for i, part in enumerate(message.content):
        if isinstance(part, TextPart):
            parts.append(part.text)
        elif role != "user":
            raise Refusal(f"pictures and videos belong to the user, not to the {role}", param=place(turn, i))
        elif isinstance(part, ImagePart):
            parts.append(Link("image", part.image_url.url))
        else:
            parts.append(Link("video", part.video_url.url))
    return Said(role, tuple(parts))
