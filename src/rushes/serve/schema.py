"""The body of a chat completion request: OpenAI's fields, and ours."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

URL = Annotated[str, Field(min_length=1, description="data: or https:, or file: below --media-dir.")]


class Strict(BaseModel):
    """Nothing is converted, and nothing unknown is passed over."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class TextPart(Strict):
    type: Literal["text"]
    text: str


class ImageURL(Strict):
    url: URL
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(Strict):
    type: Literal["image_url"]
    image_url: ImageURL


class VideoURL(Strict):
    url: URL


class VideoPart(Strict):
    type: Literal["video_url"]
    video_url: VideoURL


Part = Annotated[TextPart | ImagePart | VideoPart, Field(discriminator="type")]


class ChatMessage(Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[list[Part], Field(min_length=1, fail_fast=True)] | str
    name: str | None = None


class VideoOptions(Strict):
    num_frames: Annotated[int, Field(ge=1)] | None = None
    fps: Annotated[float, Field(gt=0)] | None = None


class MediaOptions(Strict):
    video: VideoOptions | None = None


class StreamOptions(Strict):
    include_usage: bool | None = None


class ChatRequest(Strict):
    """What is null counts as left out."""

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1, fail_fast=True)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(None, description="0, greedy, by default.")
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = Field(None, description="0 is off.")
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    stop: (
        Annotated[str, Field(min_length=1)]
        | Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=16)]
        | None
    ) = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    media_io_kwargs: MediaOptions | None = None

    method: Annotated[str, Field(max_length=512)] | None = Field(None, description="See GET /v1/methods.")
    keep: Annotated[float, Field(ge=0, le=1)] | None = Field(None, description="Of the video tokens, for the draft.")
    gamma: Annotated[int, Field(ge=1)] | Literal["auto"] | None = None
    reuse: bool | None = Field(None, description="False: read everything anew, and keep nothing.")
    details: bool | None = Field(None, description="Add what the page shows: each word's origin, kept tokens.")

    # Taken note of, or refused where they ask for something.
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    parallel_tool_calls: bool | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    functions: list[Any] | None = None
    function_call: Any = None
    response_format: dict[str, Any] | None = None
    modalities: list[str] | None = None
    audio: Any = None
    prediction: Any = None
    reasoning_effort: str | None = None
    web_search_options: Any = None
