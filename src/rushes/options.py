"""What a request asks for, and what of it is refused before any work."""

from dataclasses import dataclass, field

from rushes.errors import RushesError
from rushes.methods import Method
from rushes.models.base import Inputs, VideoLM
from rushes.pruning.base import budget_of
from rushes.sampling import Sampling


@dataclass(frozen=True, slots=True)
class Options:
    """How one request is decoded.

    Args:
        keep: Share of the video tokens that the draft sees, 0..1.
        max_new_tokens: Length limit of the answer, 1 or more.
        sampling: Greedy by default.
        eos: Token ids that end the answer.
        guarded: Token ids that a loose verifier never relaxes.
        repack_positions: Number the draft's remaining columns anew instead of keeping their own positions.
        positions: The rule of the rope positions, "stock" or "reference"; see `VideoLM.prompt`.
        question_tokens: The prompt's last turn, which asks, in tokens; None is all behind the last video.
    """

    keep: float = 0.1
    max_new_tokens: int = 256
    sampling: Sampling = field(default_factory=Sampling)
    eos: tuple[int, ...] = ()
    guarded: frozenset[int] = frozenset()
    repack_positions: bool = False
    positions: str = "stock"
    question_tokens: int | None = None

    def __post_init__(self) -> None:
        budget_of(self.keep, 0)
        if self.max_new_tokens < 1:
            raise RushesError(f"max_new_tokens must be 1 or more, got {self.max_new_tokens}")


def check_request(target: VideoLM, draft: VideoLM | None, inputs: Inputs, method: Method, options: Options) -> int:
    """Refuse what cannot work before any work.

    Returns:
        K, the video tokens that the draft will see; it does not depend on the scores.

    Raises:
        RushesError: Prompt over the context length, or a method that does not fit this model or video.
    """
    length, video_tokens = target.count(inputs)
    _check_context(length, video_tokens, options, target, "target")
    method.verifier.check(target.text_config.num_hidden_layers, video_tokens)
    if method.scorer is None:
        return 0
    method.scorer.check(target.grids(inputs))
    method.scorer.early_layer(target.text_config.num_hidden_layers)
    budget = method.scorer.budget(options.keep, video_tokens)
    if draft is not None and method.needs_draft:
        _check_context(length - video_tokens + budget, budget, options, draft, "draft")
    return budget


def _check_context(tokens: int, video_tokens: int, options: Options, model: VideoLM, role: str) -> None:
    if tokens + options.max_new_tokens > model.context_length:
        raise RushesError(
            f"the prompt has {tokens} tokens ({video_tokens} of them video) and "
            f"{options.max_new_tokens} more were asked for; the {role} holds {model.context_length}: "
            "use fewer frames, a shorter prompt or a smaller --max-new-tokens"
        )
