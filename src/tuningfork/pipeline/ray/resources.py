"""How many actors run the networks on a cluster, so that CPUs are always left for readers."""

from __future__ import annotations

from dataclasses import dataclass

from ..._utils.processes import WorkerError

__all__ = ["ACTOR_CPUS", "READ_CPUS", "ActorPool"]

#: What Ray accounts an actor and a reader; both run one thread. An actor for every CPU takes a quarter of the cluster,
#: so that CPUs are left for readers even after half of its nodes are gone: without any, Ray waits silently.
ACTOR_CPUS, READ_CPUS = 0.25, 0.5


@dataclass(frozen=True, slots=True)
class ActorPool:
    """A number of actors, each with `gpus` GPUs: 0 or 1."""

    actors: int
    gpus: int = 0

    @classmethod
    def of(cls, cpus: float, gpus: float = 0, workers: int = 0) -> ActorPool:
        """The pool for a cluster: `workers` actors; 0: one for each GPU, or for each CPU where there is no GPU.

        At most one for each GPU, or two for each CPU; half of the CPUs, and one reader's at least, are left.

        Raises
        ------
        WorkerError
            If the cluster has too few CPUs for one actor and one reader.
        """
        if cpus < ACTOR_CPUS + READ_CPUS:
            raise WorkerError(f"Ray's cluster has {cpus:g} CPUs, and one at least is needed: add a node to it")
        most = int(min(2 * cpus, (cpus - READ_CPUS) / ACTOR_CPUS))
        if gpus >= 1:
            return cls(min(workers or int(gpus), int(gpus), most), 1)
        return cls(max(1, min(workers or int(cpus), most)))

    def fits(self, cpus: float, gpus: float = 0) -> bool:
        """Whether a cluster holds all its actors and one reader."""
        return self.actors * ACTOR_CPUS + READ_CPUS <= cpus and self.actors * self.gpus <= gpus
