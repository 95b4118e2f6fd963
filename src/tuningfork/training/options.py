"""Training options and hardware: what of a training does not decide its result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Hardware", "TrainingOptions"]


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """What a training begins with and where it writes beside its run folder.

    Parameters
    ----------
    name : str
        Of the model, in its bundle.
    resume : bool
        Continue an interrupted training.
    init : str or path, optional
        Initial weights for a recipe that begins with some: a model's name or folder, or a file of weights;
        see `training.initial.weights`.
    sources : path, optional
        TOML file of auxiliary sources: more galaxies to train on; see `training.auxiliary.config`.
    teacher : str or path, optional
        Teacher model (distillation), instead of those that `sources` names.
    cache : path, optional
        Folder in which images are stored once for all trainings, decoded; None: they are read each time.
    tensorboard : bool
        Also log for TensorBoard, into the run folder's tensorboard.
    values_kind : str
        What the labels' fractions are: raw, weighted or debiased; "": as `read_labels` finds out.

    Examples
    --------
    >>> TrainingOptions(init="default", cache="cache").name
    'model'
    """

    name: str = "model"
    resume: bool = False
    init: str | Path | None = None
    sources: str | Path | None = None
    teacher: str | Path | None = None
    cache: str | Path | None = None
    tensorboard: bool = False
    values_kind: str = ""


@dataclass(frozen=True, slots=True)
class Hardware:
    """Processes, threads and devices of a training.

    Parameters
    ----------
    workers : int
        Processes that prepare images (data loading); 0: this one.
    threads : int
        Threads of PyTorch; 0: as many as cores.
    augment : "auto", "host" or "device"
        Where images are augmented: by the processes, or on the device from frames in its memory; auto: on the device
        unless it is a CPU.
    devices, nodes, accelerator, strategy
        As Lightning's Trainer takes them. The recipe's batch is that of all processes together.

    Examples
    --------
    >>> Hardware(threads=1, accelerator="cpu").devices
    'auto'
    """

    workers: int = 1
    threads: int = 0
    devices: str = "auto"
    nodes: int = 1
    accelerator: str = "auto"
    strategy: str = "auto"
    augment: Literal["auto", "host", "device"] = "auto"
