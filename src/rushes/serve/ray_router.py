"""Which replica a request goes to: one that has seen its video."""

from collections import OrderedDict, defaultdict
from typing import Any

from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica

from rushes.serve.job import Job

_REMEMBERED = 10_000  # videos
_PATIENCE = 2  # requests at a replica that holds a video, before one that idles reads it too


def video_of(job: Job) -> str:
    """What a conversation begins with, and so all that its follow-ups share with it; "" without media."""
    media = job.media
    return media[0].digest if media else ""


class HolderRouter(RequestRouter):
    """Sends requests about a video to the replica that saw it first; a new video goes where least is to be done.

    A replica that is gone, or much asked, is passed over: another one then holds the video too. All of this is known
    here, at the one place that sends; what replicas could report would come later than the next question.
    """

    def initialize_state(self, **_: Any) -> None:
        """Ray's constructor for routers."""
        self._holders: OrderedDict[str, list[ReplicaID]] = OrderedDict()
        self._running: defaultdict[ReplicaID, set[str]] = defaultdict(set)  # ids of requests

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Ranks of replicas; the least busy one with room, of the first rank that has any, gets the request."""
        if pending_request is None:
            return [candidate_replicas]
        pending_request.routing_context.should_backoff = True
        video = video_of(pending_request.args[0])
        if not video:
            return [candidate_replicas]
        known = self._holders.get(video, [])
        holders = [replica for replica in candidate_replicas if replica.replica_id in known]
        if not holders:
            holders = [min(candidate_replicas, key=self._load)]
            self._hold(video, [holders[0].replica_id])
        others = [replica for replica in candidate_replicas if replica not in holders]
        soon = [replica for replica in holders if self._busy(replica) < _PATIENCE]
        idle = [replica for replica in others if not self._busy(replica)]
        return [soon, idle, holders, others]

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any) -> None:
        """A replica has taken a request, maybe not the one that was asked first."""
        self._running[replica_id].add(pending_request.metadata.internal_request_id)
        video = video_of(pending_request.args[0])
        known = self._holders.get(video, [])
        if video:
            self._hold(video, known if replica_id in known else [*known, replica_id])

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        """A request has ended."""
        self._running[replica_id].discard(internal_request_id)

    def on_replica_actor_died(self, replica_id: ReplicaID) -> None:
        """What it held is gone with it."""
        super().on_replica_actor_died(replica_id)
        self._forget(replica_id)

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Replicas came or went."""
        super().update_replicas(replicas)
        for gone in self._running.keys() - self.curr_replicas.keys():
            self._forget(gone)

    def _hold(self, video: str, replicas: list[ReplicaID]) -> None:
        self._holders[video] = replicas
        self._holders.move_to_end(video)
        if len(self._holders) > _REMEMBERED:
            self._holders.popitem(last=False)

    def _forget(self, replica_id: ReplicaID) -> None:
        self._running.pop(replica_id, None)
        for video, known in list(self._holders.items()):
            if known == [replica_id]:
                del self._holders[video]
            elif replica_id in known:
                self._holders[video] = [other for other in known if other != replica_id]

    def _busy(self, replica: RunningReplica) -> int:
        return len(self._running.get(replica.replica_id, ()))

    def _load(self, replica: RunningReplica) -> tuple[int, int]:
        return self._busy(replica), sum(replica.replica_id in known for known in self._holders.values())
