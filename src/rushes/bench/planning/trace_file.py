"""Acceptance traces from files: lists of true and false, and what `rushes generate --json` printed."""

import json
import random
from pathlib import Path
from typing import Any

from rushes.bench.planning.acceptance import Trace, chance_of_tree, geometric, ranked
from rushes.errors import RushesError


def read(path: Path) -> Trace:
    """A trace from a file.

    Raises:
        RushesError: No such file, not JSON, or neither a list nor a result.
    """
    try:
        found = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise RushesError(f"{path}: cannot read this trace ({reason})") from error
    except (ValueError, RecursionError) as error:
        raise RushesError(
            f"{path}: not JSON ({error}); give a list such as [1, 1, 0], or a result of --json"
        ) from error
    if isinstance(found, list):
        for i, one in enumerate(found):
            if one not in (0, 1):
                raise RushesError(f"{path}: entry {i} is {one!r}; each is true or false (1 or 0): was the draft right?")
        if not found:
            raise RushesError(f"{path}: the trace is empty; give one entry for each token of an answer")
        return ranked([bool(one) for one in found], seed=0)
    if isinstance(found, dict) and isinstance(found.get("metrics"), dict):
        return of_result(found, str(path))
    raise RushesError(f"{path}: neither a list of true and false nor a result of `rushes generate --json`")


def of_result(result: dict[str, Any], source: str) -> Trace:
    """What a result tells about its draft.

    Rounds of a chain become runs of accepted tokens that end in a rejection, in an order that is drawn. Of a tree they
    say at which depth it ended, not what its first choices were worth: the chance of a chain that gives such a tree
    stands in. Where windows change their length, the tokens between two rejections give the chance.

    Raises:
        RushesError: There is nothing of a draft in it, or it cannot be told what a chain of that draft is worth.
    """
    metrics = result["metrics"]
    counts = metrics.get("speculative_decoding")
    counts = counts if isinstance(counts, dict) else {}
    histogram, window = counts.get("acceptance_histogram"), counts.get("num_spec_tokens")
    if not isinstance(histogram, list) or any(type(n) is not int or n < 0 for n in histogram) or not sum(histogram):
        raise RushesError(f"{source}: no acceptance_histogram in it; run `rushes generate --json` with a draft")
    if type(window) is not int or len(histogram) > window + 1:
        raise RushesError(f"{source}: acceptance_histogram counts more tokens than num_spec_tokens, {window}")
    drafter, schedule = _parts(str(result.get("method", "")))
    gamma = metrics.get("gamma")
    varies = schedule != "sequential" or (isinstance(gamma, dict) and bool(gamma.get("auto")))
    if drafter not in ("chain", "tree") or (drafter == "tree" and varies):
        raise RushesError(f"{source}: what {result['method']!r} accepted says little of a chain; run one, such as sd")
    rounds = [accepted for accepted, count in enumerate(histogram) for _ in range(count)]
    if drafter == "tree":
        return geometric(chance_of_tree(sum(rounds) / len(rounds), window))
    if varies:
        between = metrics.get("accepted_between_rejections")
        if type(between) not in (int, float) or not between >= 0:
            raise RushesError(f"{source}: accepted_between_rejections must be 0 or more, got {between!r}")
        return geometric(between / (between + 1))
    random.Random(0).shuffle(rounds)
    # Behind a whole window nothing is known of the position of the target's own token: it is left out.
    return ranked([one for k in rounds for one in [True] * k + [False] * (k < window)], seed=0)


def _parts(name: str) -> tuple[str, str]:
    """Drafter and schedule of a method, without their parameters."""
    from rushes.methods import method  # imports torch, which a list of true and false does not need

    parts = [part.split(":")[0] for part in method(name).recipe.split("+")]
    return (parts[1], parts[3]) if len(parts) == 4 else ("", "")
