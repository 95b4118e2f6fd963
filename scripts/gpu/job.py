"""Trains teachers and students on one GPU within a time limit, in the folder that `prepare.py` made.

    python3 job.py --work /tmp/job --seconds 700    # what is finished lies in /tmp/job/done
    python3 job.py --work /tmp/job --seconds 200    # again: goes on with what is missing
    python3 job.py --work /tmp/job --tell default   # the finished networks of a family teach the next plan's
    python3 job.py --work tiny --plan next.toml --device cpu --first 40 --rehearse    # every step, in small

All pictures lie as bytes in the GPU's memory and are turned, shifted, zoomed, lit and shrunk there, as predictions
shrink them. A step (draw, augment, forward, loss, backward, AdamW, moving average) is one CUDA graph; where it cannot
be captured (or with `--eager`) the same step runs as it is. `plan.toml` names the steps in the order of their worth;
the time that there is decides how long each trains, by the throughput that was measured first. `WORK/until` holds the
time (seconds since 1970) at which all ends, and may be changed meanwhile.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import math
import mmap
import multiprocessing
import os
import platform
import shutil
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

try:
    import timm
except RuntimeError:  # beside a build of torchvision without its operators
    import tuningfork.training._torchvision  # noqa: F401

    import timm  # isort: skip

HERE = Path(__file__).resolve().parent
#: Pixels of the frame's packed middle, and of the crop that networks see.
CANVAS, CROP = 240, 212
#: Random changes for every family: a factor of the light.
LIGHT = (0.9, 1.2)
MEAN = STD = 0.5
#: Quarter turns and reflections, in the order in which the package takes 1, 2, 4 or 8 of them.
VIEWS = {1: [0], 2: [0, 4], 4: [0, 1, 2, 3], 8: list(range(8))}
CLASS_WEIGHT, FOLDER_WEIGHT = 0.1, 0.1
#: Tensors of at least so many numbers are kept in 16 bits, as the package's export keeps them.
LEAST_HALVED = 60_000
#: Seconds that a step of the plan takes beside its training, about: tables, predictions, files.
BESIDE = 3.5
#: A trial must be better by this share of the error to be taken.
BETTER = 0.001
#: Steps between looks at the clock.
PACE = 50
#: Of a family, what its captured step does not hold.
NOT_CAPTURED = ("pictures", "taught", "teaches", "fill", "blend", "init", "choose",
                "rate", "warmup", "average", "plain_from", "schedule")  # fmt: skip
#: Share of the highest rate at which weights are averaged plainly.
STEADY = 0.2
#: The schedule "plateau": its part for validation, and by what and after how many bad epochs the rate falls.
VALIDATION, PLATEAU_FACTOR, PLATEAU_EPOCHS, PLATEAU_LEAST = 0.1, 0.2, 4, 1e-4


class OutOfTime(Exception):
    """The time is up; what is not finished is left out."""


# ── data ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Galaxies:
    """All packed galaxies: pictures (N, 3, 240, 240) uint8 on the device, and what `pack.npz` says of them."""

    pictures: Tensor
    pack: dict[str, np.ndarray]

    def rows(self, source: str) -> np.ndarray:
        return np.flatnonzero(self.pack["source"] == source)


def _decode(job: tuple[int, int, int]) -> None:
    row, start, end = job
    picture = Image.open(io.BytesIO(_files[start:end])).convert("RGB")
    if picture.width != CANVAS:
        picture = picture.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC)
    _canvas[row] = np.asarray(picture).transpose(2, 0, 1)


def read_galaxies(folder: Path, device: torch.device, first: int | None) -> Galaxies:
    """Decode all pictures once, with all cores, into the device's memory."""
    global _files, _canvas
    started = time.time()
    with np.load(folder / "pack.npz") as file:
        pack = {key: file[key] for key in file.files}
    count = len(pack["ids"])
    if first:
        keep = np.concatenate([np.flatnonzero(pack["source"] == s)[:first] for s in ("labelled", "hart", "weak")])
    else:
        keep = np.arange(count)
    starts = np.concatenate([[0], pack["ends"][:-1]])[keep]
    ends = pack["ends"][keep]
    pack = {key: value[keep] if value.ndim and len(value) == count else value for key, value in pack.items()}
    _files = (folder / "pictures.bin").read_bytes()
    # Anonymous memory that the processes share with this one.
    shared = mmap.mmap(-1, len(keep) * 3 * CANVAS * CANVAS)
    _canvas = np.frombuffer(shared, np.uint8).reshape(len(keep), 3, CANVAS, CANVAS)
    jobs = [(i, int(a), int(b)) for i, (a, b) in enumerate(zip(starts, ends, strict=True))]
    with multiprocessing.get_context("fork").Pool(min(16, os.cpu_count() or 1)) as pool:
        pool.map(_decode, jobs, chunksize=32)
    decoded = time.time()
    pictures = torch.from_numpy(_canvas).to(device)
    say(
        f"pictures: {len(keep)} decoded in {decoded - started:.1f} s, on the device after {time.time() - started:.1f} s"
    )
    return Galaxies(pictures, pack)


# ── views ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def shrinking(size: int) -> Tensor:
    """The matrix (size, CROP) of Pillow's bilinear resize: a triangle, widened by the scale."""
    scale = CROP / size
    support = max(scale, 1.0)
    matrix = torch.zeros(size, CROP, dtype=torch.float64)
    for row in range(size):
        centre = (row + 0.5) * scale
        low, high = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), CROP)
        at = torch.arange(low, high, dtype=torch.float64)
        weights = (1 - ((at - centre + 0.5) / support).abs()).clamp(min=0)
        matrix[row, low:high] = weights / weights.sum()
    return matrix.float()


class Views:
    """From packed pictures to a network's input, at random for training or exactly as a prediction does it."""

    def __init__(self, family: Family, device: torch.device):
        self.family = family
        self.matrix = shrinking(family.size).to(device)
        centres = torch.arange(CROP, device=device, dtype=torch.float32) + 0.5 - CROP / 2
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        self.grid = torch.stack([x, y], -1).reshape(1, -1, 2)

    def random(self, pictures: Tensor) -> Tensor:
        """Turned, flipped, shifted, zoomed, lit and made noisy: (B, 3, 240, 240) uint8 → (B, 3, size, size) float32.

        Sampled at the frame's own resolution, then shrunk; beyond the packed middle the sky is reflected.
        """
        count, device, family = len(pictures), pictures.device, self.family
        angle = _uniform(count, -math.radians(family.angle), math.radians(family.angle), device)
        zoom = torch.exp(_uniform(count, -family.zoom, family.zoom, device))
        flip = (torch.rand(count, 2, device=device) < 0.5).float() * 2 - 1
        shift = _uniform((count, 1, 2), -family.shift * CROP, family.shift * CROP, device)
        cos, sin = torch.cos(angle), torch.sin(angle)
        turn = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], 1)
        turn = turn * flip[:, None, :] / zoom[:, None, None]
        at = (self.grid @ turn.transpose(1, 2) + shift) * (2 / CANVAS)
        at = at.reshape(count, CROP, CROP, 2)
        cut = functional.grid_sample(pictures.float(), at, "bilinear", "reflection", align_corners=False)
        light = _uniform((count, 1, 1, 1), LIGHT[0], LIGHT[1], device)
        light = light * _uniform((count, 3, 1, 1), 1 - family.tint, 1 + family.tint, device)
        noise = torch.randn_like(cut) * _uniform((count, 1, 1, 1), 0, family.noise, device)
        return scaled(self.shrunk((cut * light + noise).clamp(0, 255)))

    def exact(self, pictures: Tensor) -> Tensor:
        """As `Preprocess` and Pillow give it, rounded to bytes after each axis: (B, 3, size, size) of whole numbers."""
        edge = (CANVAS - CROP) // 2
        cut = pictures[:, :, edge : edge + CROP, edge : edge + CROP].float()
        across = (cut @ self.matrix.T + 0.5).floor().clamp(0, 255)
        return (self.matrix @ across + 0.5).floor().clamp(0, 255)

    def shrunk(self, cut: Tensor) -> Tensor:
        return self.matrix @ cut @ self.matrix.T


def scaled(pixels: Tensor) -> Tensor:
    return (pixels / 255 - MEAN) / STD


def turned(pictures: Tensor, view: int) -> Tensor:
    """One of the eight turns and reflections of (B, 3, S, S)."""
    pictures = torch.rot90(pictures, view % 4, (2, 3))
    return pictures.flip(3) if view >= 4 else pictures


def _uniform(shape: Any, low: float, high: float, device: torch.device) -> Tensor:
    return torch.rand(shape, device=device) * (high - low) + low


# ── outputs and losses ────────────────────────────────────────────────────────────────────────────────────────────────


class Questions:
    """The tree as matrices: softmax in each question, products down the tree, without a loop over questions."""

    def __init__(self, pack: Mapping[str, np.ndarray], device: torch.device) -> None:
        question, parent = pack["question"], pack["parent"]
        self.answers, self.count = len(question), len(parent)
        width = int(np.bincount(question).max())
        self.width = width
        place = np.zeros((self.answers, self.count * width), np.float32)
        empty = np.full(self.count * width, -1e4, np.float32)
        for q in range(self.count):
            for i, column in enumerate(np.flatnonzero(question == q)):
                place[column, q * width + i] = 1
                empty[q * width + i] = 0
        chains = []
        for column in range(self.answers):
            chain, above = [], parent[question[column]]
            while above >= 0:
                chain.append(int(above))
                above = parent[question[above]]
            chains.append(chain)
        depth = max(map(len, chains))
        choose = np.zeros((depth, self.answers, self.answers), np.float32)
        alone = np.ones((depth, self.answers), np.float32)
        for column, chain in enumerate(chains):
            for level, above in enumerate(chain):
                choose[level, above, column] = 1
                alone[level, column] = 0
        self.place, self.empty = torch.from_numpy(place).to(device), torch.from_numpy(empty).to(device)
        self.choose, self.alone = torch.from_numpy(choose).to(device), torch.from_numpy(alone).to(device)
        spread = (question[:, None] == np.arange(self.count)).astype(np.float32)
        self.spread = torch.from_numpy(spread).to(device)

    def shares(self, logits: Tensor) -> Tensor:
        """Logits (B, A) → shares of each question's answers (B, A)."""
        boxes = (logits @ self.place + self.empty).reshape(-1, self.count, self.width)
        return boxes.softmax(-1).flatten(1) @ self.place.T

    def cumulative(self, shares: Tensor) -> Tensor:
        """Shares (B, A) → cumulative fractions (B, A), whose sums are those of the tree."""
        out = shares
        for choose, alone in zip(self.choose, self.alone, strict=True):
            out = out * (shares @ choose + alone)
        return out

    def fractions(self, logits: Tensor, output: str) -> Tensor:
        """Logits (B, A) → cumulative fractions, of the tree or, as the paper has it, each by itself."""
        return self.cumulative(self.shares(logits)) if output == "tree" else logits.sigmoid()


#: What is told of each galaxy, and how many numbers it takes; A answers, C classes, F folders.
TABLES = {
    "target": "A",  # cumulative fractions, of volunteers or of a teacher
    "weight": "A",  # of their squared errors; 0 where nothing is known
    "candidates": "C",  # classes that the galaxy may have, given that it has one; all 0: nothing is known
    "soft": "C",  # a teacher's probabilities, where there are any (sum 1, else 0)
    "least": "A",  # votes that must be reached; 0 asks nothing
    "hart": "A",  # shares of answers in the reduction of Hart et al. 2016
    "hart_weight": "A",
    "folders": "F",
}


class Network(nn.Module):
    """A timm network with one linear head: answers, classes, and folders of unknown thresholds, for training only.

    Names are those of the package's `MorphologyNetwork`. The shares of Hart et al. 2016 are another reduction of the
    same volunteers' clicks: each question's logits times a learned scale, plus a learned number for each answer.
    """

    def __init__(self, family: Family, questions: Questions, classes: int, folders: int):
        super().__init__()
        self.body = timm.create_model(family.network, num_classes=0, drop_path_rate=family.drop_path)
        width = getattr(self.body, "head_hidden_size", None) or self.body.num_features
        self.dropout = nn.Dropout(family.dropout)
        self.hidden = nn.Sequential(nn.Linear(width, family.hidden), nn.ReLU()) if family.hidden else nn.Identity()
        width = family.hidden or width
        self.head = nn.Linear(width, questions.answers + classes)
        self.folders = nn.Linear(width, folders)
        self.hart_scale = nn.Parameter(torch.ones(questions.count))
        self.hart_shift = nn.Parameter(torch.zeros(questions.answers))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        features = self.hidden(self.dropout(self.body(pictures)))
        return self.head(features), self.folders(features)

    def load_body(self, path: Path) -> None:
        """Packed ImageNet weights: 8-bit tensors have their scale beside them."""
        found = load_file(path)
        own = self.body.state_dict()
        for key, value in own.items():
            if key.endswith("num_batches_tracked"):
                continue
            value.copy_(found[key].float() * found.get(f"{key}.scale", torch.ones(())))


def cost(
    family: Family,
    network: Network,
    logits: Tensor,
    folders: Tensor,
    told: Mapping[str, Tensor],
    tree: Questions,
    schemes: Sequence[slice],
) -> Tensor:
    """What each galaxy costs (B,), by all that is told of it; the branches are numbers, so that a graph holds them."""
    answers, classes = logits.float().split([tree.answers, logits.shape[1] - tree.answers], 1)
    cumulative = tree.fractions(answers, family.output)
    out = (told["weight"] * (cumulative - told["target"]).square()).sum(1)
    if family.votes_only:
        return out
    out = out + (told["least"] - cumulative).clamp(min=0).square().sum(1)
    log = classes.log_softmax(1)
    some = told["candidates"].amax(1)
    possible = log.masked_fill(told["candidates"] == 0, -1e4)
    out = out - CLASS_WEIGHT * some * possible.logsumexp(1)
    soft = told["soft"]
    out = out - CLASS_WEIGHT * (soft * (log - soft.clamp(min=1e-12).log())).sum(1)
    # Fractions by themselves have no logits of shares; their logarithms are such.
    shares = answers if family.output == "tree" else functional.logsigmoid(answers)
    theirs = tree.shares(shares * (tree.spread @ network.hart_scale) + network.hart_shift)
    out = out + (told["hart_weight"] * (theirs - told["hart"]).square()).sum(1)
    for here in schemes:
        log = folders.float()[:, here].log_softmax(1)
        out = out - FOLDER_WEIGHT * (told["folders"][:, here] * log).sum(1)
    return out


# ── training ──────────────────────────────────────────────────────────────────────────────────────────────────────────


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


class Training:
    """A network with all that one step needs, in fixed memory, so that the step is captured once for many trainings."""

    def __init__(self, family: Family, galaxies: Galaxies, weights: Path, most: int, layout: torch.memory_format):
        pack, self.device = galaxies.pack, galaxies.pictures.device
        self.family, self.galaxies, self.weights, self.layout = family, galaxies, weights, layout
        self.cuda = self.device.type == "cuda"
        self.tree = Questions(pack, self.device)
        ends = np.cumsum(np.bincount(pack["scheme"])).tolist()
        self.schemes = [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        widths = {"A": self.tree.answers, "C": pack["candidates"].shape[1], "F": pack["folders"].shape[1]}
        self.classes = widths["C"]
        torch.manual_seed(0)
        self.network = Network(family, self.tree, widths["C"], widths["F"]).to(self.device, memory_format=layout)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.views = Views(family, self.device)
        self.tables = {key: torch.zeros(len(pack["ids"]), widths[w], device=self.device) for key, w in TABLES.items()}
        self.most = most
        self.order = torch.zeros(most, family.batch, dtype=torch.int64, device=self.device)
        self.rates, self.keeps, self.losses = (torch.zeros(most, device=self.device) for _ in range(3))
        self.at = torch.zeros(1, dtype=torch.int64, device=self.device)
        self.rate = torch.zeros((), device=self.device) if self.cuda else 0.0
        shrunk = [p for p in self.network.parameters() if p.ndim > 1]
        free = [p for p in self.network.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": shrunk, "weight_decay": family.decay}, {"params": free, "weight_decay": 0.0}],
            lr=self.rate,
            fused=self.cuda,
            capturable=self.cuda,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate  # this very tensor
        self.live = [t for t in (*self.network.parameters(), *self.network.buffers()) if t.is_floating_point()]
        self.held = [t for t in (*self.average.parameters(), *self.average.buffers()) if t.is_floating_point()]
        self.graph: torch.cuda.CUDAGraph | None = None
        self.captured = False

    def begin(self, family: Family, tables: Mapping[str, Tensor], order: np.ndarray, seed: int) -> None:
        """ImageNet weights, a fresh optimiser, and what is to be learned, all in the memory that the graph knows.

        `family` differs from this training's own in nothing that was captured.
        """
        steps = len(order)
        torch.manual_seed(seed)
        fresh = Network(family, self.tree, self.classes, self.network.folders.out_features)
        if family.init:
            fresh.load_body(self.weights)
        with torch.no_grad():
            states = [each.state_dict().values() for each in (self.network, self.average, fresh)]
            for own, average, new in zip(*states, strict=True):
                own.copy_(new)
                average.copy_(new)
            for state in self.optimizer.state.values():
                for value in state.values():
                    value.zero_()
            for key, table in tables.items():
                self.tables[key].copy_(table)
            self.order[:steps] = torch.from_numpy(order).to(self.device)
            rates, keeps = paces(family, steps, self.most)
            self.rates.copy_(torch.from_numpy(rates))
            self.keeps.copy_(torch.from_numpy(keeps))
            self.at.zero_()

    def step(self, synthetic: Tensor | None = None) -> None:
        """One step; with a `synthetic` input, only what the network itself costs."""
        device = self.device.type
        self.optimizer.zero_grad(set_to_none=True)
        if self.cuda:
            self.rate.copy_(self.rates.index_select(0, self.at)[0])
        else:
            for group in self.optimizer.param_groups:
                group["lr"] = float(self.rates[self.at])
        if synthetic is None:
            picks = self.order.index_select(0, self.at).flatten()
            pictures = self.views.random(self.galaxies.pictures.index_select(0, picks))
            told = {key: table.index_select(0, picks) for key, table in self.tables.items()}
            if self.family.mix:
                share = _uniform(len(picks), 0, self.family.mix, self.device)
                pictures = torch.lerp(pictures, pictures.flip(0), share[:, None, None, None])
        else:
            pictures = synthetic
        pictures = pictures.contiguous(memory_format=self.layout)
        with torch.autocast(device, torch.bfloat16, enabled=self.cuda, cache_enabled=False):
            logits, folders = self.network(pictures)
        if synthetic is None:
            costs = self.costs(logits, folders, told)
            if self.family.mix:
                others = self.costs(logits, folders, {key: table.flip(0) for key, table in told.items()})
                costs = torch.lerp(costs, others, share)
            if self.family.pairs:
                answers = logits.float()[:, : self.tree.answers]
                one, other = self.tree.fractions(answers, self.family.output).chunk(2)
                costs = costs + self.family.pairs * (one - other).square().sum(1).repeat(2)
            if self.family.loss == "rmse":
                loss = (costs.sum() / told["weight"].sum()).sqrt()
            else:
                loss = costs.sum() / self.family.labelled
        else:
            loss = logits.float().square().mean() + folders.float().square().mean()
        loss.backward()
        grads = [p for p in self.network.parameters() if p.grad is not None]
        nn.utils.clip_grad_norm_(grads, self.family.clip, foreach=self.cuda or None)
        self.optimizer.step()
        with torch.no_grad():
            fraction = 1 - self.keeps.index_select(0, self.at)[0]
            change = torch._foreach_sub(self.live, self.held)
            torch._foreach_mul_(change, fraction if self.cuda else float(fraction))
            torch._foreach_add_(self.held, change)
            self.losses.index_copy_(0, self.at, loss.detach()[None])
            self.at += 1

    def costs(self, logits: Tensor, folders: Tensor, told: Mapping[str, Tensor]) -> Tensor:
        return cost(self.family, self.network, logits, folders, told, self.tree, self.schemes)

    def capture(self, synthetic: Tensor | None = None) -> torch.cuda.CUDAGraph | None:
        """The step as a CUDA graph, or None where there is no GPU or it cannot be captured."""
        self.network.train()
        if not self.cuda or EAGER:
            return None
        torch.backends.cudnn.benchmark = self.family.choose
        try:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(3):  # chooses algorithms and makes the optimiser's state
                    self.step(synthetic)
            torch.cuda.current_stream().wait_stream(stream)
            self.optimizer.zero_grad(set_to_none=True)
            self.at.zero_()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self.step(synthetic)
            torch.cuda.synchronize()
            return graph
        except Exception as error:  # whatever a driver or version cannot capture
            say(f"no CUDA graph ({str(error).splitlines()[0][:200]}): steps run one by one")
            torch.cuda.synchronize()
            self.optimizer.zero_grad(set_to_none=True)
            return None
        finally:
            self.at.zero_()

    def run(self, steps: int, check: Callable[[], None] = lambda: None) -> float:
        """So many steps; the seconds that they took."""
        self.network.train()
        if not self.captured:
            raise RuntimeError("capture first")
        if self.cuda:
            torch.cuda.synchronize()
        started = time.time()
        for number in range(steps):
            self.graph.replay() if self.graph else self.step()
            if number % PACE == PACE - 1:
                if self.cuda:
                    torch.cuda.synchronize()
                check()
        if self.cuda:
            torch.cuda.synchronize()
        return time.time() - started

    def ready(self) -> None:
        if not self.captured:
            self.graph, self.captured = self.capture(), True

    def speed(self, synthetic: bool) -> float:
        """Pictures a second, of the step itself or of a synthetic one. Leaves the weights in disorder."""
        count = 20 if self.cuda else 1
        if synthetic:
            size = self.family.size
            fixed = torch.rand(self.family.batch, 3, size, size, device=self.device)
            graph = self.capture(fixed)
        else:
            self.ready()
            fixed, graph = None, self.graph
        for timed in (False, True):
            started = time.time()
            for _ in range(count if timed else max(1, count // 4)):
                graph.replay() if graph else self.step(fixed)
                self.at.zero_()
            if self.cuda:
                torch.cuda.synchronize()
        return count * self.family.batch / (time.time() - started)

    @torch.no_grad()
    def predict(self, rows: np.ndarray, views: Sequence[int], exact: bool, batch: int = 512) -> np.ndarray:
        """(V, N, A + C) cumulative fractions and class probabilities of each view, by the averaged weights.

        In 32 bits if `exact`, else in 16.
        """
        torch.backends.cudnn.benchmark = False
        before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, not exact
        out = np.zeros((len(views), len(rows), self.tree.answers + self.classes), np.float32)
        half = torch.autocast("cuda", torch.float16) if self.cuda and not exact else nullcontext()
        for start in range(0, len(rows), batch):
            picks = torch.from_numpy(rows[start : start + batch]).to(self.device)
            small = scaled(self.views.exact(self.galaxies.pictures.index_select(0, picks)))
            for number, view in enumerate(views):
                with half:
                    logits, _ = self.average(turned(small, view).contiguous(memory_format=self.layout))
                answers, classes = logits.float().split([self.tree.answers, self.classes], 1)
                told = torch.cat([self.tree.fractions(answers, self.family.output), classes.softmax(1)], 1)
                out[number, start : start + len(picks)] = told.cpu().numpy()
        torch.backends.cudnn.allow_tf32 = before
        return out

    def soft(self) -> np.ndarray:
        """What its students learn from: (N, A + C) float16 of all galaxies, the mean of four views."""
        rows = np.arange(len(self.galaxies.pack["ids"]))
        return self.predict(rows, VIEWS[4], exact=False).mean(0).astype(np.float16)

    def weights_to(self, path: Path) -> None:
        """The averaged weights, the large ones in 16 bits; without what only the training needs."""
        kept = {}
        for key, value in self.average.state_dict().items():
            if key.startswith(("body.", "hidden.", "head.")) and not key.endswith("num_batches_tracked"):
                value = value.detach().cpu().contiguous()
                kept[key] = value.half() if value.numel() >= LEAST_HALVED else value.clone()
        save_file(kept, path)


def paces(family: Family, steps: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """(most,) learning rates, and how much of the average of the weights each step keeps."""
    at = np.arange(most)
    # The decay grows, else a short training's average still holds the first weights.
    keeps = np.minimum(family.average, (1 + at) / (10 + at))
    if family.schedule != "cosine":
        return np.full(most, family.rate), keeps
    warm, least, end = max(1, int(family.warmup * steps)), 0.0, steps
    if family.plain_from:
        least, end = STEADY, int(family.plain_from * steps)
        before = np.maximum(at - end, 0)  # weights in the mean so far
        keeps = before / (before + 1)
    cosine = 0.5 * (1 + np.cos(np.pi * np.clip((at - warm) / max(1, end - warm), 0, 1)))
    return family.rate * np.where(at < warm, (at + 1) / warm, least + (1 - least) * cosine), keeps


def plateau(training: Training, steps: int, galaxies: int, validation: np.ndarray, check: Callable[[], None]) -> float:
    """A training whose rate falls where the validation error stands still; keeps the weights of the best epoch.

    As Keras' `ReduceLROnPlateau` counts; an epoch is as many steps as the galaxies fill. The seconds that it took.
    """
    pace = max(1, galaxies // training.family.labelled)
    known, best, bad, best_weights, took = training.galaxies.pack["cumulative"][validation], math.inf, 0, None, 0.0
    for start in range(0, steps, pace):
        took += training.run(min(pace, steps - start), check)
        error = rmse(training.predict(validation, VIEWS[1], exact=False)[0], known)["known"]
        if error < best - PLATEAU_LEAST:
            best, bad = error, 0
            best_weights = [value.clone() for value in training.average.state_dict().values()]
        else:
            bad += 1
        if bad >= PLATEAU_EPOCHS:
            training.rates.mul_(PLATEAU_FACTOR)
            bad = 0
    if best_weights is not None:
        with torch.no_grad():
            for own, value in zip(training.average.state_dict().values(), best_weights, strict=True):
                own.copy_(value)
    return took


# ── the plan ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Step:
    """A training of the plan: on all labelled galaxies (fold −1), or on those of the other folds."""

    family: str
    fold: int
    variant: str = ""
    changes: tuple[tuple[str, Any], ...] = ()
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.family}{f'-{self.variant}' if self.variant else ''}-{'all' if self.fold < 0 else self.fold}"


#: Of a rehearsal: the side of its images, its galaxies of each source in a batch, and its pictures in a training.
REHEARSED, REHEARSED_BATCH, REHEARSED_PICTURES = 32, 4, 24


def rehearsed(values: dict[str, Any]) -> dict[str, Any]:
    """A family's values, or a step's changes of them, in small."""
    small = {"size": REHEARSED, "pictures": REHEARSED_PICTURES}
    small |= {key: min(int(values.get(key, 0)), REHEARSED_BATCH) for key in ("labelled", "hart", "weak")}
    return {key: small.get(key, value) for key, value in values.items()}


def read_plan(path: Path, rehearse: bool = False) -> tuple[dict[str, Family], list[Step], dict[str, Any]]:
    plan = tomllib.loads(path.read_text("utf-8"))
    if rehearse:
        plan["family"] = {name: rehearsed(values) for name, values in plan["family"].items()}
        for trial in plan.get("trial", {}).values():
            trial["changes"] = [rehearsed(change) for change in trial["changes"]]
        plan |= {"longest": 4000, "least_scale": 1.0, "most_scale": 1.0}
        for entry in plan["step"]:
            entry["changes"] = rehearsed(entry.get("changes", {}))
    families = {
        name: Family(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
        for name, values in plan.pop("family").items()
    }
    steps = []
    for entry in plan.pop("step"):
        for fold in entry["folds"]:
            changes = tuple(entry.get("changes", {}).items())
            steps.append(Step(entry["family"], fold, entry.get("variant", ""), changes, entry.get("seed", 0)))
    return families, steps, plan


def order_of(family: Family, train: np.ndarray, galaxies: Galaxies, steps: int, seed: int) -> np.ndarray:
    """(steps, batch) rows: of each source all once before any comes again; of pairs, the second half is the first."""
    rng = np.random.default_rng(seed)
    parts = []
    views = 2 if family.pairs else 1
    for rows, count in (
        (train, family.labelled),
        (galaxies.rows("hart"), family.hart),
        (galaxies.rows("weak"), family.weak),
    ):
        count //= views
        if count:
            passes = -(-steps * count // len(rows))
            drawn = np.concatenate([rng.permutation(rows) for _ in range(passes)])[: steps * count]
            parts.append(drawn.reshape(steps, count))
    return np.tile(np.concatenate(parts, 1), views)


def tables_of(family: Family, galaxies: Galaxies, taught: np.ndarray | None) -> dict[str, Tensor]:
    """What the training is told, (N, …) each, `taught` (N, A + C) being what its teachers say on average.

    A labelled galaxy's unknown fractions follow from what is known above them: the known share of volunteers who
    reach a question times the teachers' shares of its answers.
    """
    pack = galaxies.pack
    target, known = np.nan_to_num(pack["cumulative"]), ~np.isnan(pack["cumulative"])
    weight = known.astype(np.float32)
    soft = np.zeros_like(pack["candidates"])
    if taught is not None:
        answers = target.shape[1]
        target = target + family.blend * (taught[:, :answers] - target)
        target = filled(target, known, taught[:, :answers], pack["question"], pack["parent"])
        weight = np.where(known, weight, family.fill).astype(np.float32)
        foreign = pack["source"] != "labelled"
        soft[foreign] = family.fill * taught[foreign, answers:]
    return {
        key: torch.from_numpy(np.ascontiguousarray(value, np.float32))
        for key, value in {
            "target": target, "weight": weight, "candidates": pack["candidates"], "soft": soft,
            "least": pack["least"], "hart": pack["hart"], "hart_weight": pack["hart_asked"] * asked_weight(pack),
            "folders": pack["folders"],
        }.items()
    }  # fmt: skip


def asked_weight(pack: Mapping[str, np.ndarray]) -> np.ndarray:
    """(A,) 1, but 0 for the first question, whose debiasing depends on more than the votes."""
    return (pack["question"] > 0).astype(np.float32)


def filled(
    target: np.ndarray, known: np.ndarray, taught: np.ndarray, question: np.ndarray, parent: np.ndarray
) -> np.ndarray:
    """Known fractions (N, A), the others as a teacher shares out what reaches their question."""
    out = np.where(known, target, 0).astype(np.float32)
    for q, above in enumerate(parent):
        part = np.flatnonzero(question == q)
        reach = np.ones(len(out), np.float32) if above < 0 else out[:, above]
        total = taught[:, part].sum(1, keepdims=True)
        shares = np.where(total > 1e-6, taught[:, part] / np.maximum(total, 1e-6), 1 / len(part))
        out[:, part] = np.where(known[:, part], out[:, part], reach[:, None] * shares)
    return out


def rmse(said: np.ndarray, known: np.ndarray) -> dict[str, float]:
    """Of the complete rows, and over all known cells."""
    wrong = said[:, : known.shape[1]] - known
    complete = ~np.isnan(known).any(1)
    return {
        "complete": float(np.sqrt((wrong[complete] ** 2).mean())) if complete.any() else math.nan,
        "known": float(np.sqrt(np.nanmean(wrong**2))),
    }


class Job:
    """The plan, carried out step by step until it or the time ends."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.work, self.done = args, args.work, args.work / "done"
        self.done.mkdir(parents=True, exist_ok=True)
        self.families, self.steps, self.options = read_plan(args.plan, args.rehearse)
        self.until = self.work / "until"
        if args.seconds:
            self.until.write_text(f"{time.time() + args.seconds:.0f}\n")
        self.device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.trainings: dict[Any, Training] = {}
        self.failed: list[str] = []
        self.layout = torch.channels_last
        self.notes = self.work / "notes.json"
        self.note: dict[str, Any] = json.loads(self.notes.read_text()) if self.notes.exists() else {}

    def left(self) -> float:
        return float(self.until.read_text()) - time.time()

    def check(self) -> None:
        if self.left() < 0:
            raise OutOfTime

    def remember(self, **values: Any) -> None:
        self.note.update(values)
        whole(self.notes, lambda path: path.write_text(json.dumps(self.note, indent=1)))

    def run(self) -> None:
        torch.backends.cudnn.benchmark_limit = 4  # trying ten algorithms for each shape takes 20 s a network
        self.galaxies = read_galaxies(HERE, self.device, self.args.first)
        self.remember(machine=about(self.device))
        say(json.dumps(self.note["machine"]))
        for family in self.options.get("trial", {}):
            self.all_of(
                [step for step in self.steps if not step.variant and step.family in self.families[family].taught]
            )
            self.try_out(family)
        self.all_of([step for step in self.steps if not step.variant])
        self.measure()
        # Another row tells more than another fold of the same.
        self.all_of(sorted((step for step in self.steps if step.variant), key=lambda step: step.fold))
        self.measure()

    def all_of(self, steps: Sequence[Step]) -> None:
        """Carry out what is not finished; one broken step does not cost the others."""
        for step in steps:
            if self.is_done(step):
                continue
            if self.left() < 5:
                raise OutOfTime
            self.try_step(step)

    def try_step(self, step: Step, scale: float | None = None) -> None:
        try:
            self.carry_out(step, scale)
        except OutOfTime:
            raise
        except Exception as error:
            self.failed.append(step.name)
            say(f"{step.name} failed: {type(error).__name__}: {str(error)[:500]}")
            if self.device.type == "cuda":
                torch.cuda.synchronize()

    def is_done(self, step: Step) -> bool:
        return (self.done / f"{step.name}.npz").exists()

    def family(self, step: Step) -> Family:
        """As the plan has it, with what trials chose for the families that are taught, with the step's own changes."""
        family = self.families[step.family]
        chosen: dict[str, Any] = {}
        for tried, best in self.note.get("chosen", {}).items():
            if family.taught:
                chosen |= best
                if "pictures" in best:  # as much longer or shorter
                    chosen["pictures"] = round(family.pictures * best["pictures"] / self.families[tried].pictures)
        return Family(**{**family.__dict__, **chosen, **dict(step.changes)})

    def try_out(self, name: str) -> None:
        """Changes of a family one after the other, on a few folds: each stays if it lowers the error there."""
        trial = self.options["trial"][name]
        if name in self.note.get("chosen", {}):
            return
        best: dict[str, Any] = {}
        least = math.inf
        for number, change in enumerate([{}, *trial["changes"]]):
            changes = tuple({**best, **change}.items())
            steps = [Step(name, fold, f"trial{number}", changes) for fold in trial["folds"]]
            for step in steps:
                if not self.is_done(step):
                    self.try_step(step, 1.0)
            if not all(map(self.is_done, steps)):
                continue
            errors = []
            for step in steps:
                with np.load(self.done / f"{step.name}.npz") as file:
                    figures = json.loads(str(file["figures"]))["rmse 1"]
                errors.append((figures["complete"] + figures["known"]) / 2)
            error = float(np.mean(errors))
            say(f"trial {change}: {error:.5f}, {'taken' if error < least * (1 - BETTER) else 'not taken'}")
            if error < least * (1 - BETTER):
                best, least = {**best, **change}, error
                for step in steps:  # the trial's own folds need not be trained again
                    for end in ("safetensors", "npz"):
                        tried, plain = (f"{each.name}.{end}" for each in (step, Step(name, step.fold)))
                        whole(self.done / plain, lambda path, tried=tried: shutil.copy(self.done / tried, path))
        self.remember(chosen={**self.note.get("chosen", {}), name: best})

    def training(self, family: Family) -> Training:
        """One for all steps of a kind: it is captured once."""
        key = tuple(value for name, value in family.__dict__.items() if name not in NOT_CAPTURED)
        if key not in self.trainings:
            weights = HERE / "weights" / f"{family.network}.safetensors"
            most = int(self.options["longest"] / family.batch) + 1
            self.choose_layout(family, weights)
            started = time.time()
            training = self.trainings[key] = Training(family, self.galaxies, weights, most, self.layout)
            train = self.galaxies.rows("labelled")
            tables = {key: table.cpu() for key, table in training.tables.items()}
            training.begin(family, tables, order_of(family, train, self.galaxies, 30, 0), 0)
            speed = training.speed(synthetic=False)
            say(
                f"{family.network} at {family.size} px: {speed:.0f} galaxies/s in training, "
                f"known after {time.time() - started:.1f} s"
            )
            self.remember(speeds={**self.note.get("speeds", {}), f"{family.network}-{family.size}": speed})
        return self.trainings[key]

    def choose_layout(self, family: Family, weights: Path) -> None:
        """Once: the faster of the two orders of pixels and channels, by a synthetic step."""
        if self.device.type != "cuda" or "layout" in self.note:
            if self.note.get("layout") == "contiguous":
                self.layout = torch.contiguous_format
            return
        told = {}
        for name, layout in (("channels last", torch.channels_last), ("contiguous", torch.contiguous_format)):
            training = Training(family, self.galaxies, weights, 10, layout)
            told[name] = training.speed(synthetic=True)
            del training
            torch.cuda.empty_cache()
        best = max(told, key=told.__getitem__)
        self.layout = torch.channels_last if best == "channels last" else torch.contiguous_format
        say(
            f"synthetic step, {family.network} at {family.size} px, batch {family.batch}, galaxies/s: {told}; "
            f"taken: {best}"
        )
        self.remember(layout=best, synthetic={f"{family.network}-{family.size}": told})

    def scale(self) -> float:
        """How much longer than nominal all trainings are, so that the wanted ones fill the time; decided once."""
        if "scale" not in self.note:
            wanted = [step for step in self.steps if not step.variant and not self.is_done(step)]
            costs = 0.0
            for step in wanted:
                family = self.family(step)
                self.training(family)
                costs += family.pictures / self.note["speeds"][f"{family.network}-{family.size}"]
            time_left = self.options["share"] * (self.left() - BESIDE * len(wanted))
            scale = min(max(time_left / max(costs, 1e-9), self.options["least_scale"]), self.options["most_scale"])
            say(f"{self.left():.0f} s left; all of the plan would train for {costs:.0f} s: scale {scale:.2f}")
            self.remember(scale=scale)
        return self.note["scale"]

    def taught(self, family: Family, fold: int) -> np.ndarray | None:
        """What the teachers that may teach this fold say of all galaxies: the mean of each family's, then of these.

        A fold's student learns from the teachers that did not see that fold either. The last ones learn from all of
        them, and from another model where the pack has its predictions.
        """
        said = []
        for name in family.taught:
            folds = sorted({s.fold for s in self.steps if s.family == name and not s.variant and s.fold >= 0})
            files = [self.done / f"{name}-{k}.npz" for k in (folds if fold < 0 else [fold])]
            there = [file for file in files if file.exists()]
            if there:
                said.append(np.mean([_fractions(np.load(file)["soft"]) for file in there], 0))
        if not said:
            raise ValueError(f"no teacher of {family.taught} is there")
        if fold < 0 and "taught" in self.galaxies.pack:
            said.append(_fractions(self.galaxies.pack["taught"]))
        return np.mean(said, 0)

    def carry_out(self, step: Step, scale: float | None = None) -> None:
        family, galaxies, pack = self.family(step), self.galaxies, self.galaxies.pack
        scale = self.scale() if scale is None else scale
        steps = min(max(2, int(family.pictures * scale / family.batch)), int(self.options["longest"] / family.batch))
        training = self.training(family)
        speed = self.note["speeds"][f"{family.network}-{family.size}"]
        if self.device.type == "cuda" and steps * family.batch / speed + BESIDE > self.left():
            say(f"{step.name} left out: {self.left():.0f} s are too few")
            return
        started = time.time()
        labelled = galaxies.rows("labelled")
        train = labelled if step.fold < 0 else labelled[pack["fold"][labelled] != step.fold]
        held = labelled[pack["fold"][labelled] == step.fold]
        seed = 1000 * step.seed + step.fold + 1
        if family.schedule == "plateau":
            train, validation = np.split(np.random.default_rng(seed).permutation(train),
                                         [round(len(train) * (1 - VALIDATION))])  # fmt: skip
        tables = tables_of(family, galaxies, self.taught(family, step.fold) if family.taught else None)
        training.begin(family, tables, order_of(family, train, galaxies, steps, seed), seed)
        training.ready()
        if family.schedule == "plateau":
            seconds = plateau(training, steps, len(train), validation, self.check)
        else:
            seconds = training.run(steps, self.check)
        trained = time.time()
        out: dict[str, Any] = {"loss": training.losses[:steps].cpu().numpy()}
        figures: dict[str, Any] = {
            "steps": steps, "seconds": seconds, "galaxies_a_second": steps * family.batch / seconds,
            "epochs": steps * family.labelled / len(train),
        }  # fmt: skip
        if step.fold >= 0:
            said = training.predict(held, VIEWS[8], exact=True)
            out |= {"held": held, "views": said.astype(np.float32)}
            for views in (1, 8):
                figures[f"rmse {views}"] = rmse(said[VIEWS[views]].mean(0), pack["cumulative"][held])
        if family.teaches and step.fold >= 0:
            out["soft"] = training.soft()
        if step.fold < 0:
            out["all"] = training.predict(labelled, VIEWS[1], exact=True)[0]
        if not np.isfinite(out["loss"]).all():
            raise ValueError("the loss is no number")
        whole(self.done / f"{step.name}.safetensors", training.weights_to)
        out |= {"figures": json.dumps(figures), "family": json.dumps(family.__dict__)}
        whole(self.done / f"{step.name}.npz", lambda path: np.savez_compressed(path, **out))
        say(
            f"{step.name}: {json.dumps(figures)}; all {time.time() - started:.1f} s, "
            f"{time.time() - trained:.1f} after; {self.left():.0f} left"
        )

    def tell(self, name: str) -> None:
        """Let a family that taught nobody teach: what its folds' finished networks say of all galaxies, to their files."""
        self.galaxies = read_galaxies(HERE, self.device, self.args.first)
        for step in self.steps:
            weights = self.done / f"{step.name}.safetensors"
            if step.family != name or step.variant or step.fold < 0 or not (self.is_done(step) and weights.exists()):
                continue
            with np.load(self.done / f"{step.name}.npz") as file:
                out = dict(file)
            family = Family(**{**json.loads(str(out["family"])), "taught": ()})
            body = HERE / "weights" / f"{family.network}.safetensors"
            training = Training(family, self.galaxies, body, 1, self.layout)
            training.average.load_state_dict(load_file(weights), strict=False)
            out["soft"] = training.soft()
            whole(self.done / f"{step.name}.npz", lambda path, out=out: np.savez_compressed(path, **out))
            say(f"{step.name} says what it sees in {len(out['soft'])} pictures")

    def measure(self) -> None:
        """Synthetic steps of the other networks, and how fast each predicts, if there is time."""
        cuda = self.device.type == "cuda"
        for training in list(self.trainings.values()):
            name = f"{training.family.network}-{training.family.size}"
            if self.left() < 25 or name in self.note.get("predicting", {}):
                continue
            count = 4096 if cuda else 16
            rows = torch.from_numpy(np.arange(count) % len(self.galaxies.pack["ids"])).to(self.device)
            small = scaled(training.views.exact(self.galaxies.pictures[rows])).contiguous(memory_format=self.layout)

            def fixed(part: Tensor, training: Training = training, small: Tensor = small) -> Tensor:
                """The network alone, on inputs that are there: the bound."""
                return training.average(small[: len(part)])[0]

            def whole_way(part: Tensor, training: Training = training) -> Tensor:
                """From bytes in the memory to fractions."""
                pixels = scaled(training.views.exact(self.galaxies.pictures.index_select(0, part)))
                logits = training.average(pixels.contiguous(memory_format=self.layout))[0].float()
                return training.tree.cumulative(training.tree.shares(logits[:, : training.tree.answers]))

            rates = []
            for predicted in (fixed, whole_way):
                with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=cuda):
                    for _ in ("warm-up", "timed"):
                        if cuda:
                            torch.cuda.synchronize()
                        started = time.time()
                        for _ in range(3):
                            for part in rows.split(1024):
                                predicted(part)
                        if cuda:
                            torch.cuda.synchronize()
                rates.append(3 * count / (time.time() - started))
            rate = rates[0]
            say(
                f"predicting, batch 1024, {name}: network alone {rate:.0f} galaxies/s, from bytes to fractions "
                f"{rates[1]:.0f}, {rates[1] / rate:.0%} of it"
            )
            self.remember(predicting={**self.note.get("predicting", {}), name: rate})
            self.remember(predicting_whole={**self.note.get("predicting_whole", {}), name: rates[1]})
            if name not in self.note.get("synthetic", {}):
                told = {self.note.get("layout", "channels last"): training.speed(synthetic=True)}
                say(f"synthetic step, {name}, batch {training.family.batch}, galaxies/s: {told}")
                self.remember(synthetic={**self.note.get("synthetic", {}), name: told})


def _fractions(said: np.ndarray) -> np.ndarray:
    """Fractions as kept: as they are, or in 255ths."""
    return said.astype(np.float32) / (255 if said.dtype == np.uint8 else 1)


def about(device: torch.device) -> dict[str, Any]:
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or "cpu",
        "torch": torch.__version__,
        "timm": timm.__version__,
        "cudnn": torch.backends.cudnn.version() if device.type == "cuda" else None,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }


def whole(path: Path, write: Callable[[Path], Any]) -> None:
    """A file is there whole or not at all."""
    beside = path.with_name(f".{path.name}" if path.suffix != ".npz" else f".{path.stem}.npz")
    write(beside)
    beside.replace(path)


def say(line: str) -> None:
    print(f"{time.time() - STARTED:7.1f} {line}", flush=True)


STARTED, EAGER = time.time(), False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("/tmp/job"))
    parser.add_argument("--plan", type=Path, default=HERE / "plan.toml")
    parser.add_argument("--seconds", type=float, default=700, help="0: WORK/until holds already")
    parser.add_argument("--device")
    parser.add_argument("--first", type=int, help="only so many galaxies of each source")
    parser.add_argument("--eager", action="store_true", help="no CUDA graphs")
    parser.add_argument("--tell", metavar="FAMILY", help="instead: let the finished networks of this family teach")
    parser.add_argument("--rehearse", action="store_true", help="every step of the plan on tiny images, for a moment")
    args = parser.parse_args()
    global EAGER
    EAGER = args.eager
    job = Job(args)
    try:
        if args.tell:
            job.tell(args.tell)
        else:
            job.run()
    except OutOfTime:
        say("out of time")
    else:
        say(f"all done; failed: {', '.join(job.failed) or 'none'}")
        if job.failed:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
