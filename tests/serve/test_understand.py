"""What is refused before anything is done with it."""

import pytest

from rushes.serve.config import Config
from rushes.serve.limits import Limits
from rushes.serve.refusals import Refusal
from rushes.serve.schema import ChatRequest
from rushes.serve.understand import check_size

CONFIG = Config(limits=Limits(prompt_tokens=100))


@pytest.mark.parametrize(
    "content", ["a" * 801, [{"type": "text", "text": "a" * 400}, {"type": "text", "text": "b" * 401}]]
)
def test_text_that_no_prompt_could_hold_is_not_cut_into_tokens(content: object) -> None:
    body = ChatRequest.model_validate({"model": "m", "messages": [{"role": "user", "content": content}]})
    with pytest.raises(Refusal, match="the text has 801 characters, the limit is 800"):
        check_size(body.messages, CONFIG)
    shorter = ChatRequest.model_validate({"model": "m", "messages": [{"role": "user", "content": "a" * 800}]})
    check_size(shorter.messages, CONFIG)
