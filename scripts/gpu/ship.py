"""Make a model of the package from the results of `job.py`: network, calibration, figures, card.

    python scripts/gpu/ship.py default --done done --pack .gpu/pack.npz --images images_training_rev1 \
        --labels training_solutions_rev1.csv --output src/tuningfork/model/models/default

The shipped network learned from all labelled galaxies, so its errors on them promise nothing. Intervals, class
probabilities and figures come from five networks of the same recipe, each of which predicted the fifth of the galaxies
that it did not see (cross-conformal prediction: Vovk 2015, Ann. Math. Artif. Intell. 74, 9). The last layer is scaled
by what those predictions tell (`out_of_fold.py`). What is said of errors and of the intervals' coverage is of galaxies
of each fold with a scaling and intervals fitted on the other four.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from out_of_fold import fit, read, scaled
from prepare import SCHEMES
from safetensors.torch import load_file
from trainer.views import VIEWS

import tuningfork.training._torchvision  # noqa: F401  (before timm)
from tuningfork import __version__, load_tree, read_image, read_labels
from tuningfork.evaluation.baselines import baseline_votes
from tuningfork.evaluation.calibrate import fit_calibration, fit_class_calibration, held_out_bounds
from tuningfork.evaluation.evaluate import evaluate
from tuningfork.evaluation.ood_evaluation import image_statistics
from tuningfork.evaluation.prediction_table import PredictionTable
from tuningfork.evaluation.purity import purity
from tuningfork.evaluation.reliability import coverage
from tuningfork.evaluation.true_classes import TrueClasses
from tuningfork.images.preprocess import Preprocess
from tuningfork.model.bundle import Bundle, Network, Outputs, write_bundle
from tuningfork.model.card import model_card
from tuningfork.model.class_calibration import class_index, class_probabilities
from tuningfork.model.out_of_domain import fit_novelty_detector
from tuningfork.model.training_ids import TrainingIDs
from tuningfork.training.export_onnx import deviation, halved, to_onnx
from tuningfork.training.image_cache import content_key
from tuningfork.training.network import MorphologyNetwork
from tuningfork.votes.clean_samples import Status, classify
from tuningfork.votes.label_table import LabelTable
from tuningfork.votes.tree import DecisionTree
from tuningfork.votes.vote_table import VoteTable

Floats = NDArray[np.float64]
ABOUT = json.loads(Path(__file__).parent.with_name("ship.json").read_text("utf-8"))
LEVEL, FALSE_ALARMS, PROBES = 0.9, 0.01, 64
ERRORS = ("rmse_complete_rows", "rmse_known_columns")
_LIBRARIES = ("numpy", "pillow", "simplejpeg", "timm", "onnx", "onnxscript", "onnxruntime")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(ABOUT["models"]))
    parser.add_argument("--done", type=Path, required=True)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--views", type=int, default=1)
    parser.add_argument("--table", type=Path, help="write the out-of-fold predictions, for `select` and `purity`")
    parser.add_argument("--licence", type=Path, required=True, help="licence of the initial weights")
    args = parser.parse_args()
    about, tree = {**ABOUT, **ABOUT["models"][args.name]}, load_tree("gz2")
    with np.load(args.pack) as file:
        pack = {key: file[key] for key in file.files}
    labelled = pack["source"] == "labelled"
    ids, fold = pack["ids"][labelled], pack["fold"][labelled]
    known = pack["cumulative"][labelled].astype(np.float64)
    paths = [args.images / f"{id_}.jpg" for id_ in ids]
    with np.load(args.done / f"{args.name}-all.npz") as file:
        family, ran = json.loads(str(file["family"])), json.loads(str(file["figures"]))

    network = MorphologyNetwork(family["network"], tree)
    weights = {key: value.float() for key, value in load_file(args.done / f"{args.name}-all.safetensors").items()}
    missing, unexpected = network.load_state_dict(weights, strict=False)
    if unexpected or not all(key.endswith("num_batches_tracked") for key in missing):
        parser.error(f"the weights are not those of {family['network']}: {[*missing, *unexpected][:3]}")
    views = read(args.done, args.name, fold)
    scaling = fit(views[0, :, : len(tree.columns)], known, tree)
    scaling.into(network.head)
    preprocess, outputs = Preprocess(size=family["size"]), Outputs()
    single = to_onnx(network, family["size"])
    half = halved(single)
    images = np.stack([preprocess(read_image(path).rgb) for path in paths[:: len(paths) // PROBES]])
    deviations = {
        f"largest difference of a fraction from PyTorch, {bits}-bit weights": deviation(
            network, tree, outputs, data, images
        )
        for bits, data in ((32, single), (16, half))
    }

    predicted = scaled(views, known, fold, tree)[VIEWS[args.views]].mean(0)
    cumulative = predicted[:, : len(tree.columns)]
    votes, truth = (VoteTable(tree, tuple(ids.tolist()), fractions) for fractions in (cumulative, known))
    low, high = held_out_bounds(votes, truth, args.views, LEVEL, fold)
    bundle = Bundle(
        name=args.name,
        title=about["title"],
        description=about["description"],
        licence=about["licence"],
        limits=(*about["limits"], *about["own_limits"]),
        attribution=tuple(about["attribution"]),
        tree=tree,
        networks=(Network(half, preprocess, family["network"]),),
        outputs=outputs,
        n_views=args.views,
        training={
            "labels_sha256": str(pack["labels_sha256"]),
            "pictures_sha256": content_key(ids.tolist(), paths),
            "init_sha256": about["init_sha256"],
            "counts": counts(known, tree),
            "auxiliary": auxiliary(pack),
            "recipe": {**family, "network_options": {}, "hidden": 0, "init": "imagenet", "epochs": ran["epochs"]},
            "last_layer": {"factors": scaling.factors.round(4).tolist(), "shifts": scaling.shifts.round(4).tolist()},
            "selection": about["selection"],
            "commands": about["commands"],
            "id_hashes": TrainingIDs.of({"train": ids.tolist()}, salt=str(pack["labels_sha256"])).to_dict(),
        },
        versions={
            "tuningfork": __version__,
            "python": platform.python_version(),
            **{library: metadata.version(library) for library in _LIBRARIES},
            "trained with": about["trained_with"],
        },
    )
    statistics, unread = image_statistics(bundle, paths)
    if unread:
        parser.error(f"{unread[0].file}: {unread[0].reason}")
    calibration, _ = fit_calibration(bundle, votes, predicted[:, len(tree.columns) :], truth, LEVEL)
    calibration = replace(calibration, domain=fit_novelty_detector(statistics, FALSE_ALARMS))
    # The figures are of class probabilities that were calibrated without the galaxy's fold, too.
    probability, no_class = np.empty((len(ids), len(tree.classes))), np.empty(len(ids))
    for k in np.unique(fold):
        held, rest = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        fitted = fit_class_calibration(
            bundle, cumulative[rest], predicted[rest, len(tree.columns) :], truth.select(rest)
        )
        probability[held], no_class[held] = class_probabilities(fitted, tree, votes=cumulative[held])
    table = PredictionTable(
        "out-of-fold predictions",
        votes,
        (),
        class_index(probability, no_class),
        probability,
        low,
        high,
        LEVEL,
        no_class_probability=no_class,
    )
    if args.table:
        write_out_of_fold(table, args.table)
    labels = read_labels(args.labels, tree)
    test = evaluated(table, labels)
    test["baselines"] = {
        name: {key: evaluated(PredictionTable(name, each, ()), labels)[key] for key in ERRORS}
        for name, each in baselines(truth, fold, args.images).items()
    }
    figures: dict[str, Any] = {
        "deviation": deviations,
        "test": {**test, "about": f"{len(ids)} galaxies, each by a network of the same recipe that did not see it"},
        "purity": purity(table, TrueClasses.of_votes(labels.votes, "labels")).short(),
        "calibration": {
            "galaxies": len(ids),
            "part": "all, each predicted by a network of the same recipe that did not see it",
            "labels_sha256": str(pack["labels_sha256"]),
            "left_out": coverage(low, high, cumulative, known, tree),
        },
    }
    shipped = replace(bundle, calibration=calibration, figures=figures)
    licence = {args.licence.name: args.licence.read_text("utf-8")}
    shipped = replace(shipped, documents={**licence, "CARD.md": model_card(shipped)})
    write_bundle(shipped, args.output)
    print(model_card(shipped))


def auxiliary(pack: Mapping[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """Return what a bundle says of the galaxies beside the labelled ones: what they are, how many have which label."""
    weak, hart = (pack["source"] == name for name in ("weak", "hart"))
    targets = [({"kind": "classes", "column": "five_class"}, pack["candidates"][weak].any(1))]
    targets += [
        (
            {"kind": "labels", "column": column, "labels": labels},
            pack["folders"][weak][:, pack["scheme"] == number].any(1),
        )
        for number, (column, labels) in enumerate(SCHEMES.items())
    ]
    sources = {
        "gz2_weak": (weak, targets),
        "gz2_hart16": (hart, [({"kind": "shares"}, pack["hart_asked"][hart].any(1))]),
    }
    return [
        {
            "galaxies": int(rows.sum()),
            "name": name,
            "about": ABOUT["sources"][name],
            "in_validation_or_test": 0,
            "targets": [
                *({**target, "galaxies": int(some.sum())} for target, some in targets),
                {"kind": "teacher", "galaxies": int(rows.sum())},
            ],
        }
        for name, (rows, targets) in sources.items()
    ]


def write_out_of_fold(table: PredictionTable, path: Path) -> None:
    """Write predictions of all labelled galaxies, each by the network that did not see it, in columns of `predict`."""
    assert table.probability is not None
    assert table.no_class_probability is not None
    tree = table.votes.tree
    columns = {
        "id": list(table.ids),
        **dict(zip(tree.fraction_names, table.votes.conditional.T, strict=True)),
        "class": pa.array(table.classes, pa.int8(), mask=(table.classes < 0) | (table.classes == len(tree.classes))),
        **{f"class_{c}_probability": table.probability[:, c] for c in range(len(tree.classes))},
        "no_class_probability": table.no_class_probability,
    }
    pq.write_table(pa.table(columns), path)


def evaluated(table: PredictionTable, labels: LabelTable) -> dict[str, Any]:
    """Return the report of `tuningfork evaluate` for these predictions."""
    report = evaluate(table, labels).report
    return {key: value for key, value in report.items() if key not in ("predictions", "labels")}


def baselines(known: VoteTable, fold: NDArray[np.int8], images: Path) -> dict[str, VoteTable]:
    """Predict each fold from the other four without a model: by their mean, and by nearest neighbours in pixels."""
    parts: dict[str, Floats] = {}
    for k in np.unique(fold):
        held, others = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        predictions, _ = baseline_votes(known.select(others), known.select(held), [images])
        for name, each in predictions.items():
            parts.setdefault(name, np.empty_like(known.fractions))[held] = each.fractions
    return {name: VoteTable(known.tree, known.ids, fractions) for name, fractions in parts.items()}


def counts(known: Floats, tree: DecisionTree) -> dict[str, Any]:
    """Return the counts of a training whose training subset is all galaxies."""
    classes = classify(known, tree)
    complete = int((~np.isnan(known).any(1)).sum())
    return {
        "galaxies": {"train": len(known), "validation": 0, "test": 0},
        "complete_rows": {"train": complete, "validation": 0, "test": 0},
        "train_classes": {
            **{rule.key: int((classes == c).sum()) for c, rule in enumerate(tree.classes)},
            **{s.label: int((classes == s).sum()) for s in (Status.UNCLASSIFIED, Status.UNDECIDED)},
        },
        "near_duplicates": 0,
    }


if __name__ == "__main__":
    main()
