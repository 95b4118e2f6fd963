"""How a kind of network is trained."""

from __future__ import annotations

from dataclasses import dataclass

#: Of a family, what its captured step does not hold.
NOT_CAPTURED = ("pictures", "taught", "teaches", "fill", "blend", "init", "choose",
                "rate", "warmup", "average", "plain_from", "schedule")  # fmt: skip


@dataclass(frozen=True)
class Family:
    """How a kind of network is trained: a table of `plan.toml`."""

    network: str
    size: int
    labelled: int  # of a batch
    hart: int
    weak: int
    pictures: int  # in a training, if the plan's scale is 1
    taught: tuple[str, ...] = ()  # families whose networks say what is not known
    teaches: bool = False
    fill: float = 0.5  # weight of a teacher's fraction
    blend: float = 0.0  # how far a known fraction is moved to the teacher's, which smooths the volunteers' noise
    init: str = "imagenet"  # or "" for random weights
    output: str = "tree"  # or "sigmoid": each fraction by itself
    apart: float = 0.0  # weight of a second head in training, of each fraction by itself
    loss: str = "squares"  # their sum in a galaxy, on average; or "rmse" of all known fractions of a batch
    votes_only: bool = False
    hidden: int = 0
    angle: float = 180.0  # turned by at most so many degrees
    shift: float = 0.04  # at most this part of the crop's side
    zoom: float = 0.14  # of the logarithm
    noise: float = 1.2  # at most, in levels; packing removes about one
    tint: float = 0.0  # each colour's own change of the light
    mix: float = 0.0  # at most this share of another picture, and of what is told of it (Zhang et al. 2018)
    pairs: float = 0.0  # weight of the difference between two views of each galaxy; a batch then holds half as many
    rate: float = 1e-3
    schedule: str = "cosine"  # after a warm-up; or "plateau": lower where a tenth kept for validation stands still
    warmup: float = 0.05  # of the training
    decay: float = 0.05
    dropout: float = 0.4
    drop_path: float = 0.2
    average: float = 0.995  # how much of the moving average of the weights a step keeps, at most
    plain_from: float = 0.0  # from this part on, the weights' plain mean at a steady rate (Izmailov et al. 2018)
    clip: float = 5.0
    choose: bool = True  # cuDNN tries its algorithms, 15 to 30 s for a kind of network; then it is faster

    @property
    def batch(self) -> int:
        return self.labelled + self.hart + self.weak
