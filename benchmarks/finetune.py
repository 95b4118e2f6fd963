"""A model adapted to other classes with few labels, against the same network from scratch and its frozen features.

    python benchmarks/finetune.py galaxy10_decals/ study/ [--model default] [--labels 50 200 500] [--size 64]

The first folder has one sub-folder of pictures for each class. 400 galaxies, drawn once, are tested on; the labels are
drawn from the rest, the fewer among the more. Three arms, each a training of the same network at the same size with the
same random views: `fine-tuned` by the recipe finetune; `frozen`, where only the last layer learns; and `scratch`, from
random weights with twice the steps, at the better of two learning rates (the better on the test galaxies, in its
favour). Prints one Markdown table, also OUTPUT/table.md while it goes on; what is done is not done again.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

from tuningfork._utils.files import write_text
from tuningfork.evaluation import metrics
from tuningfork.images.find import find_images
from tuningfork.model.model import load
from tuningfork.training.initial.weights import adapt_recipe
from tuningfork.training.options import Hardware, TrainingOptions
from tuningfork.training.recipe import Recipe, load_recipe
from tuningfork.training.train import train

TEST = 400
SCRATCH_RATES = (1e-3, 4e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--labels", type=int, nargs="+", default=[50, 200, 500])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--size", type=int, default=64, help="pixels; 0: as the model")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    test, rest = drawn(args.pictures)
    for seed in range(args.seeds):
        for labels in args.labels:
            table = args.output / f"labels-{labels}-{seed}.csv"
            chosen = alternating(rest, seed)[:labels]
            write_text(table, "id,label\n" + "".join(f"{p.stem},{p.parent.name}\n" for p in chosen))
            for arm, recipe in arms(args.model, args.size, seed).items():
                result = args.output / f"{arm}-{labels}-{seed}.json"
                if not result.exists():
                    judge(result, table, recipe, test, args)
                    write_text(args.output / "table.md", report(args.output, args.labels, args.seeds))
    print(report(args.output, args.labels, args.seeds), end="")


def drawn(folder: Path) -> tuple[list[Path], list[Path]]:
    """The pictures that are tested on, of all classes alike, and the rest."""
    order = alternating(list(find_images([folder])), seed=0)
    return order[:TEST], order[TEST:]


def alternating(pictures: list[Path], seed: int) -> list[Path]:
    """One of each class in turn, each class in an order of its own."""
    rng = np.random.default_rng(seed)
    classes: dict[str, list[Path]] = {}
    for picture in pictures:
        classes.setdefault(picture.parent.name, []).append(picture)
    ranked = [
        (place, name, each)
        for name in sorted(classes)
        for place, each in enumerate(np.array(classes[name])[rng.permutation(len(classes[name]))])
    ]
    return [each for _, _, each in sorted(ranked, key=lambda entry: entry[:2])]


def arms(model: str, size: int, seed: int) -> dict[str, Recipe]:
    """The trainings that are compared, by name."""
    tuned = adapt_recipe(load_recipe("finetune"), model).changed(seed=seed, size=size or None)
    scratch = tuned.changed(init="", body_rate=1.0, frozen_norms=False, min_steps=2 * tuned.min_steps)
    return {
        "fine-tuned": tuned,
        "frozen": tuned.changed(body_rate=0.0),
        **{f"scratch-{rate:g}": scratch.changed(learning_rate=rate) for rate in SCRATCH_RATES},
    }


def judge(result: Path, labels: Path, recipe: Recipe, test: list[Path], args: argparse.Namespace) -> None:
    """Train, predict the test pictures, write what was right."""
    run = args.output / "runs" / result.stem
    report = train(
        labels, [args.pictures], run, recipe,
        options=TrainingOptions(resume=True, init=args.model if recipe.init else None, cache=args.output / "cache"),
        hardware=Hardware(workers=0, threads=args.threads),
    )  # fmt: skip
    model = load(run / "bundle", threads=args.threads)
    told = model.predict(test).class_index
    names = [rule.name for rule in model.tree.classes]
    true = [names.index(path.parent.name) for path in test]
    seconds = json.loads((run / "result.json").read_text("utf-8"))["seconds"]
    write_text(result, json.dumps({"true": true, "told": told.tolist(), "classes": names, "seconds": seconds,
                                   "validation": report.best}) + "\n")  # fmt: skip
    shutil.rmtree(run)


def report(output: Path, labels: list[int], seeds: int) -> str:
    """Accuracy and macro F1 on the test galaxies of what is done: means over seeds, intervals over galaxies."""
    lines = ["| labels | arm | seeds | accuracy | macro F1 | s |", "|---|---|---|---|---|---|"]
    for count in labels:
        told = {}
        for arm in ("fine-tuned", "frozen", *(f"scratch-{rate:g}" for rate in SCRATCH_RATES)):
            files = [output / f"{arm}-{count}-{seed}.json" for seed in range(seeds)]
            runs = [json.loads(file.read_text("utf-8")) for file in files if file.exists()]
            if runs:
                told[arm] = (len(runs), *scores(runs), float(np.mean([run["seconds"] for run in runs])))
        scratch = [arm for arm in told if arm.startswith("scratch")]
        worse = sorted(scratch, key=lambda arm: told[arm][1].value)[:-1]
        for arm, (number, accuracy, f1, seconds) in told.items():
            if arm not in worse:
                lines.append(f"| {count} | {arm} | {number} | {shown(accuracy)} | {shown(f1)} | {round(seconds)} |")
    return "\n".join(lines) + "\n"


def scores(runs: list[dict]) -> tuple[metrics.Interval, metrics.Interval]:
    true, told = np.array(runs[0]["true"]), np.array([run["told"] for run in runs])
    count = len(runs[0]["classes"])

    def mean(score):
        def of(rows):
            return float(np.mean([score(metrics.confusion_matrix(true[rows], each[rows], count)) for each in told]))

        return metrics.bootstrap(of, len(true), resamples=1000)

    return mean(metrics.accuracy), mean(lambda matrix: metrics.macro(matrix)["f1"])


def shown(interval: metrics.Interval) -> str:
    return f"{interval.value:.3f} ({interval.low:.3f}…{interval.high:.3f})"


if __name__ == "__main__":
    main()
