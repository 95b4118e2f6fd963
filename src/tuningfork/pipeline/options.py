"""Execution options: who predicts the chunks of a run, with how many processes and threads."""

from __future__ import annotations

from dataclasses import dataclass

from .._utils.errors import TuningforkError

__all__ = ["ENGINES", "ExecutionOptions", "PredictError"]

ENGINES = ("local", "ray")


class PredictError(TuningforkError, ValueError):
    """A prediction that cannot begin or continue; the message says what to do."""


@dataclass(frozen=True, slots=True)
class ExecutionOptions:
    """How a prediction run is executed.

    Parameters
    ----------
    engine : "local" or "ray"
        Who predicts: processes of this machine, or a Ray cluster.
    workers : int
        Processes; 0: one for each core if there are enough images. 1: this process only.
    threads : int, optional
        Threads of the network in each worker; None: one, with several workers.
    address : str, optional
        Ray's cluster; None: one that is started on this machine.
    shard : (i, n), optional
        Predict only the i-th of n shares of the chunks, counted from 1; as many processes, on machines that share
        a file system, write one folder.
    resume : bool
        Continue an interrupted run.
    retry_failed : bool
        Predict only the rows of a finished run again that failed, or whose structure was to be measured and was not.
    chunk_rows : int, optional
        Rows of a chunk: what a crash can cost each worker; None: 512, more in runs of 100 thousand rows and above.

    Raises
    ------
    PredictError
        If there is no such engine, the shard's number is not in 1…n, or failed rows are to be retried by shards or in a
        run that is resumed.

    Examples
    --------
    >>> ExecutionOptions(workers=4, resume=True).engine
    'local'
    """

    engine: str = "local"
    workers: int = 0
    threads: int | None = None
    address: str | None = None
    shard: tuple[int, int] | None = None
    resume: bool = False
    retry_failed: bool = False
    chunk_rows: int | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise PredictError(f"engine {self.engine!r} is none of {', '.join(ENGINES)}")
        if self.shard is not None and not 1 <= self.shard[0] <= self.shard[1]:
            raise PredictError(f"shard {self.shard[0]}/{self.shard[1]}: the first number counts from 1 to the second")
        if self.retry_failed and (self.shard is not None or self.resume):
            raise PredictError("rows are retried in a finished run: neither resumed nor by shards")
