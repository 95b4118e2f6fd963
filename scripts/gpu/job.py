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
import json
import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from trainer.family import NOT_CAPTURED, Family
from trainer.galaxies import read_galaxies
from trainer.output import about, say, whole
from trainer.plan import Step, order_of, read_plan
from trainer.targets import from_255ths, rmse, tables_of
from trainer.training import VALIDATION, Training, plateau
from trainer.views import VIEWS, scaled

HERE = Path(__file__).resolve().parent
#: Seconds that a step of the plan takes beside its training, about: tables, predictions, files.
BESIDE = 3.5
#: A trial must be better by this share of the error to be taken.
BETTER = 0.001


class OutOfTime(Exception):
    """The time is up; what is not finished is left out."""


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
            training = self.trainings[key] = Training(
                family, self.galaxies, weights, most, self.layout, self.args.eager
            )
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
            training = Training(family, self.galaxies, weights, 10, layout, self.args.eager)
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
                said.append(np.mean([from_255ths(np.load(file)["soft"]) for file in there], 0))
        if not said:
            raise ValueError(f"no teacher of {family.taught} is there")
        if fold < 0 and "taught" in self.galaxies.pack:
            said.append(from_255ths(self.galaxies.pack["taught"]))
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
        """Let a family that taught nobody teach: write what its folds' networks say of all galaxies to their files."""
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
