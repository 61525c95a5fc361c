"""The deployments of a server on Ray, and what each of them takes of the cluster."""

from typing import Any

from ray import serve

from rushes.serve.config import Config
from rushes.serve.ray_backend import at_one_replica
from rushes.serve.ray_front import Front
from rushes.serve.ray_pair import PairReplica, PairSpec, for_replicas
from rushes.serve.ray_router import HolderRouter

NAME = "rushes"
_HEAD = "node:__internal_head__"  # Ray's own name for it


def application(spec: PairSpec, config: Config, replicas: int, cpus: float) -> Any:
    """What Serve runs.

    Args:
        spec: Of each pair.
        config: The server's.
        replicas: How many pairs.
        cpus: Cores that each of them reserves.
    """
    both: dict[str, Any] = {
        "graceful_shutdown_timeout_s": config.grace_s,
        "graceful_shutdown_wait_loop_s": 0.2,
        "max_constructor_retry_count": 1,
    }
    pairs = serve.deployment(
        name="Pair",
        num_replicas=replicas,
        max_ongoing_requests=at_one_replica(config.queue, replicas),
        ray_actor_options={"num_cpus": cpus, "num_gpus": 1 if spec.device == "cuda" else 0},
        request_router_config={"request_router_class": HolderRouter},
        health_check_period_s=2,
        **both,
    )(PairReplica)
    front = serve.deployment(
        name="Front",
        num_replicas=1,
        max_ongoing_requests=10_000,  # the queue is its own; what is too much gets a 429 from it
        ray_actor_options={"num_cpus": 0, "resources": {_HEAD: 0.001}},
        **both,
    )(Front)
    return front.bind(pairs.bind(spec, for_replicas(config)), replicas, config)
