"""What the answers of a run add up to."""

from dataclasses import dataclass
from typing import Any

from rushes.result import Result


@dataclass(slots=True)
class Tally:
    """Sums over answers; rates are taken from the sums, as one long answer would have them."""

    answers: int = 0
    tokens: int = 0
    rounds: int = 0
    accepted: int = 0
    decoding_s: float = 0.0
    total_s: float = 0.0
    lossless: bool = True

    def add(self, result: Result) -> None:
        metrics = result.metrics
        self.answers += 1
        self.tokens += len(result.token_ids)
        self.rounds += metrics["speculative_decoding"]["num_spec_steps"]
        self.accepted += metrics["speculative_decoding"]["num_accepted_draft_tokens"]
        self.decoding_s += metrics["time_s"]["decoding"]
        self.total_s += metrics["time_s"]["total"]
        self.lossless &= result.lossless

    def metrics(self) -> dict[str, Any]:
        """Means; the first token of every answer belongs to its prefill."""
        decoded = self.tokens - self.answers
        return {
            "accepted_per_round": self.accepted / self.rounds if self.rounds else 0.0,
            "tokens_per_second": decoded / self.decoding_s if decoded > 0 and self.decoding_s > 0 else 0.0,
            "lossless": self.lossless,
        }

    def line(self, method: str) -> str:
        """All of it for people."""
        mean = self.metrics()
        same = "lossless" if self.lossless else "not lossless: answers may differ from the target's own"
        return (
            f"rushes {method}: {self.answers} answers, {self.tokens} tokens, "
            f"{mean['accepted_per_round']:.2f} accepted per round, "
            f"{mean['tokens_per_second']:.1f} tokens/s in decoding, {same}"
        )
