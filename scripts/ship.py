"""Joins trained bundles into a model of the package: the ensemble, its figures, its card.

    python scripts/ship.py run/bundle --output src/tuningfork/models/default --views 8 --figures evaluation.json

`--calibration` names what `tuningfork calibrate` wrote of the same networks, to take its calibration over.
`evaluation.json` is what `tuningfork evaluate … --json` printed for the model; leave it out the first time, to have a
model to evaluate.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from tuningfork.model.bundle import Bundle, open_bundle, write_bundle
from tuningfork.model.card import model_card
from tuningfork.model.training_ids import TrainingIDs
from tuningfork.votes.split_file import read_split

ABOUT = json.loads(Path(__file__).with_name("ship.json").read_text("utf-8"))

UNCALIBRATED = "Fractions are point estimates without intervals, and class probabilities are not calibrated."


def complete(bundle: Bundle, licences: list[Path], split: Path | None = None) -> Bundle:
    """The bundle with its card and licences, and with the hashes of the galaxies that it was trained on."""
    if split:
        subsets = read_split(split)
        ids = {each: [id_ for id_, subset in subsets.items() if subset == each] for each in ("train", "validation")}
        hashes = TrainingIDs.of(ids, salt=bundle.training["labels_sha256"])
        if bundle.calibration and bundle.figures["calibration"]["part"] == "validation":
            hashes = hashes.with_subset("calibration", ids["validation"])
        bundle = replace(bundle, training={**bundle.training, "id_hashes": hashes.to_dict()})
    texts = {path.name: path.read_text("utf-8") for path in licences}
    return replace(bundle, documents={**bundle.documents, **texts, "CARD.md": model_card(bundle)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--figures", type=Path)
    parser.add_argument("--licence", type=Path, action="append", default=[], help="file to keep beside the networks")
    parser.add_argument("--split", type=Path, help="split.csv of the training, if the bundles do not hold its IDs")
    args = parser.parse_args()
    about = {**ABOUT, **ABOUT["models"][args.output.name]}
    members = [open_bundle(path) for path in args.bundles]
    first = members[0]
    if len({(member.tree, member.training["labels_sha256"]) for member in members}) > 1:
        parser.error("the bundles are of different trees or label tables")
    figures = {
        "validation": {
            f"network {number}, {name}": scores
            for number, member in enumerate(members)
            for name, scores in member.figures["validation"].items()
        },
        "deviation": {
            name: max(member.figures["deviation"][name] for member in members) for name in first.figures["deviation"]
        },
    }
    networks = tuple(network for member in members for network in member.networks)
    calibration = None
    if args.calibration:
        calibrated = open_bundle(args.calibration)
        if calibrated.networks != networks:
            parser.error("the calibrated bundle has other networks")
        calibration, figures["calibration"] = calibrated.calibration, calibrated.figures["calibration"]
    if args.figures:
        test = json.loads(args.figures.read_text("utf-8"))
        figures["test"] = {key: value for key, value in test.items() if key not in ("predictions", "labels")}
    shipped = replace(
        first,
        name=args.output.name,
        title=about["title"],
        description=about["description"],
        licence=about["licence"],
        limits=(*(() if calibration else (UNCALIBRATED,)), *about["limits"]),
        attribution=tuple(about["attribution"]),
        networks=networks,
        calibration=calibration,
        n_views=args.views,
        training={
            **first.training,
            "auxiliary": [source for member in members for source in member.training.get("auxiliary", ())],
            "recipe": [member.training["recipe"] for member in members],
            "selection": about["selection"],
            "commands": about["commands"],
        },
        figures=figures,
    )
    shipped = complete(shipped, args.licence, args.split)
    write_bundle(shipped, args.output)
    print(model_card(shipped))


if __name__ == "__main__":
    main()
