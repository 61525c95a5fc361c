"""How one request is answered, checked before anything is loaded or read."""

from dataclasses import dataclass
from typing import Any

from rushes.errors import RushesError
from rushes.methods import Method, method
from rushes.models.base import POSITIONS
from rushes.options import Options
from rushes.sampling import Sampling

DRAFT_POSITIONS = ("original", "repacked")


_KINDS: tuple[tuple[Any, str, tuple[str, ...]], ...] = (
    (str, "a word", ("method", "draft_positions", "positions")),
    (int, "a whole number", ("max_new_tokens", "top_k", "seed")),
    (int | str, "a whole number or 'auto'", ("gamma",)),
    (int | float, "a number", ("keep", "temperature", "top_p", "repetition_penalty")),
)
_OPTIONAL = ("gamma", "seed", "repetition_penalty")


@dataclass(frozen=True, slots=True)
class Settings:
    """The keyword arguments of `Pair.generate`, `Pair.stream` and `Pair.generate_inputs`.

    Args:
        method: A name that `rushes methods` lists, or "scorer+drafter+verifier+schedule"; parameters
            follow behind colons, such as "hippo:crop=2".
        keep: Share of the video tokens that the draft sees, 0..1.
        gamma: Tokens in a chain or levels of a tree; "auto" follows measured speeds and acceptance, and switches
            drafting off where it does not pay; None takes the method's default.
        max_new_tokens: Length limit of the answer.
        temperature, top_p, top_k: As in transformers; temperature 0 is greedy.
        repetition_penalty: None takes the checkpoint's.
        seed: For sampling.
        positions: How the prompt is numbered: "stock", as transformers' `generate` does, or "reference", by the model's
            original rule, also vLLM's. They differ for Qwen2-VL and Qwen2.5-VL, most with long videos.
        draft_positions: "original" keeps each remaining token's own position, "repacked" numbers them anew.
        check: Also decode plainly and compare.

    Raises:
        RushesError: A value out of range, or an unknown name.
    """

    method: str = "specvlm"
    keep: float = 0.1
    gamma: int | str | None = None
    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float | None = None
    seed: int | None = None
    positions: str = "stock"
    draft_positions: str = "original"
    check: bool = False

    def __post_init__(self) -> None:
        for kind, words, names in _KINDS:
            for name in names:
                value = getattr(self, name)
                optional = name in _OPTIONAL and value is None
                if not optional and (isinstance(value, bool) or not isinstance(value, kind)):
                    raise RushesError(f"{name} must be {words}, got {value!r}")
        recipe = self.recipe()
        self.options()
        if self.temperature > 0 and not recipe.lossless:
            raise RushesError(
                f"method {self.method!r} compares words with the target's greedy choice, which a sampled answer has "
                "none of; leave the temperature at 0, or use the verifier sampling"
            )
        if self.positions not in POSITIONS:
            raise RushesError(f"positions must be 'stock' or 'reference', got {self.positions!r}")
        if self.draft_positions not in DRAFT_POSITIONS:
            raise RushesError(f"draft_positions must be 'original' or 'repacked', got {self.draft_positions!r}")
        if self.check and self.temperature > 0:
            raise RushesError("check compares with plain greedy decoding; leave the temperature at 0")

    def recipe(self) -> Method:
        """The method's parts, made for one request."""
        return method(self.method, self.gamma)

    def options(self, eos: tuple[int, ...] = (), repetition_penalty: float = 1.0) -> Options:
        """What the loop needs to know.

        Args:
            eos: Tokens that end the answer.
            repetition_penalty: The checkpoint's, for requests that do not say.
        """
        penalty = repetition_penalty if self.repetition_penalty is None else self.repetition_penalty
        return Options(
            keep=self.keep,
            max_new_tokens=self.max_new_tokens,
            sampling=Sampling(self.temperature, self.top_p, self.top_k, penalty, self.seed),
            eos=eos,
            repack_positions=self.draft_positions == "repacked",
            positions=self.positions,
        )
