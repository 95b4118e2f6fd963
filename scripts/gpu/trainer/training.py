"""One training: steps that a CUDA graph holds, the schedule of rates and averages, predictions."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from .family import Family
from .galaxies import Galaxies
from .network import Network, cost
from .output import say
from .questions import Questions
from .targets import TABLES, rmse
from .views import VIEWS, Views, scaled, turned, uniform

#: Tensors of at least so many numbers are kept in 16 bits, as the package's export keeps them.
LEAST_HALVED = 60_000
#: Steps between looks at the clock.
PACE = 50
#: Share of the highest rate at which weights are averaged plainly.
STEADY = 0.2
#: The schedule "plateau": its part for validation, and by what and after how many bad epochs the rate falls.
VALIDATION, PLATEAU_FACTOR, PLATEAU_EPOCHS, PLATEAU_LEAST = 0.1, 0.2, 4, 1e-4


class Training:
    """A network with all that one step needs, in fixed memory, so that the step is captured once for many trainings.

    `most` steps at most; `eager`: without a CUDA graph.
    """

    def __init__(
        self,
        family: Family,
        galaxies: Galaxies,
        weights: Path,
        most: int,
        layout: torch.memory_format,
        eager: bool = False,
    ) -> None:
        pack, self.device = galaxies.pack, galaxies.pictures.device
        self.family, self.galaxies, self.weights, self.layout = family, galaxies, weights, layout
        self.cuda, self.eager = self.device.type == "cuda", eager
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
                share = uniform(len(picks), 0, self.family.mix, self.device)
                pictures = torch.lerp(pictures, pictures.flip(0), share[:, None, None, None])
        else:
            pictures = synthetic
        pictures = pictures.contiguous(memory_format=self.layout)
        with torch.autocast(device, torch.bfloat16, enabled=self.cuda, cache_enabled=False):
            logits, beside = self.network(pictures)
        if synthetic is None:
            costs = self.costs(logits, beside, told)
            if self.family.mix:
                others = self.costs(logits, beside, {key: table.flip(0) for key, table in told.items()})
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
            loss = logits.float().square().mean() + beside.float().square().mean()
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

    def costs(self, logits: Tensor, beside: Tensor, told: Mapping[str, Tensor]) -> Tensor:
        return cost(self.family, self.network, logits, beside, told, self.tree, self.schemes)

    def capture(self, synthetic: Tensor | None = None) -> torch.cuda.CUDAGraph | None:
        """The step as a CUDA graph, or None where there is no GPU or it cannot be captured."""
        self.network.train()
        if not self.cuda or self.eager:
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
