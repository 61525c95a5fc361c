"""Draft, then verify, one after the other, simulated; without a window this is plain decoding."""

from rushes.bench.planning.engine import Process, Task
from rushes.bench.planning.request import Request
from rushes.timeline import DRAFT, TARGET


def sequential(request: Request) -> Process:
    """The loop of `rushes.scheduling.sequential`: both prefills, then rounds of a chain or a tree."""
    costs, how = request.costs, request.how
    yield Task(TARGET, "vision", costs.target_vision)
    yield Task(TARGET, "prefill", costs.target_prefill)
    request.first_token()
    if how.gamma != 0 and request.remaining:
        yield Task(DRAFT, "vision", costs.draft_vision)
        yield Task(DRAFT, "prefill", costs.draft_prefill)
    request.begin_decoding()
    while request.remaining:
        depth = min(how.gamma or 0, request.remaining - 1)  # the target adds one token to whatever is accepted
        for level in range(depth):
            yield Task(DRAFT, "window", costs.level(level))
        nodes = depth if how.tree is None else sum(len(name) <= depth for name in how.tree)
        yield request.review(nodes)
        if how.tree is None:
            accepted = request.trace.run(request.position, depth)
        else:
            accepted = request.trace.descend(request.position, how.tree, depth)
        request.run.reviews.append((nodes + 1, accepted))
        request.emit(accepted + 1)
