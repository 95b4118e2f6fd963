"""Options of predictions at survey scale: processes, batches, devices, shards and clusters."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

__all__ = [
    "AddressOption",
    "RunBatchOption",
    "Device",
    "DeviceOption",
    "Engine",
    "EngineOption",
    "Precision",
    "PrecisionOption",
    "ShardOption",
    "RunWorkersOption",
]

_SCALE = "At survey scale"


class Precision(StrEnum):
    """Arithmetic of the networks."""

    f32 = "f32"
    bf16 = "bf16"
    auto = "auto"


class Device(StrEnum):
    """Where the networks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Engine(StrEnum):
    """Who does the work."""

    local = "local"
    ray = "ray"


RunWorkersOption = Annotated[
    int, typer.Option(min=0, help="Processes; 0: one a core where that is faster.", rich_help_panel=_SCALE)
]
RunBatchOption = Annotated[
    int, typer.Option(min=0, max=4096, help="Images at a time; 0: the fastest number.", rich_help_panel=_SCALE)
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        help="bf16: nearly twice as fast on CPUs that support it, fractions off by 0.01 (needs OpenVINO); "
        "auto: bf16 if the first images show that its deviations are small beside the intervals.",
        rich_help_panel=_SCALE,
    ),
]
DeviceOption = Annotated[Device, typer.Option(help="auto: an NVIDIA GPU if there is one.", rich_help_panel=_SCALE)]
ShardOption = Annotated[
    str | None,
    typer.Option(
        metavar="I/N", help="Predict the I-th of N shards; all write one folder together.", rich_help_panel=_SCALE
    ),
]
EngineOption = Annotated[Engine, typer.Option(help="local: this machine; ray: a cluster.", rich_help_panel=_SCALE)]
AddressOption = Annotated[
    str | None, typer.Option(help="Ray's cluster; none: one on this machine.", rich_help_panel=_SCALE)
]
