"""The same job as others write it: a DataLoader, timm and Lightning's predict, all results in a list, then CSV."""

from __future__ import annotations

import csv
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tuningfork.model.bundle import open_bundle
from tuningfork.training import _torchvision as _torchvision

# isort: split
import lightning
import timm
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from tuningfork._utils.environment import available_cores
from tuningfork.images.find import find_images

#: Images of a batch.
BATCH = 64


class _Images(Dataset[Tensor]):
    def __init__(self, paths: Sequence[Path], transform: Any) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> Tensor:
        with Image.open(self.paths[row]) as image:
            return self.transform(image.convert("RGB"))


class _Network(lightning.LightningModule):
    def __init__(self, architectures: Sequence[str], outputs: int, views: int) -> None:
        super().__init__()
        self.networks = nn.ModuleList(timm.create_model(name, num_classes=outputs) for name in architectures)
        self.views = views

    def predict_step(self, batch: Tensor, _: int) -> Tensor:
        rotated = [torch.rot90(batch, view, (2, 3)) for view in range(self.views)]
        return torch.stack([network(view).sigmoid() for network in self.networks for view in rotated]).mean(0)


def predict_folder(model: str, folder: str, output: str) -> int:
    """Predict all images of `folder` into the CSV `output`; the number of rows.

    The networks are timm's of the model's architectures with random weights: what they say is nonsense, the time is
    the same. Crop, size, scaling and number of views are the model's.
    """
    bundle = open_bundle(model)
    preprocess = bundle.networks[0].preprocess
    paths = list(find_images([folder]))
    transform = v2.Compose(
        [
            v2.CenterCrop(round(preprocess.crop * _shorter_side(paths[0]))),
            v2.Resize((preprocess.size, preprocess.size), antialias=True),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(preprocess.mean, preprocess.std),
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        batches = DataLoader(_Images(paths, transform), batch_size=BATCH, num_workers=available_cores())
        network = _Network(
            [network.architecture for network in bundle.networks],
            sum(bundle.outputs.widths(bundle.tree)),
            bundle.n_views,
        )
        trainer = lightning.Trainer(
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        )
        fractions = trainer.predict(network, batches)
    results = torch.cat(fractions).tolist()
    with open(output, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([path.stem, *row] for path, row in zip(paths, results, strict=True))
    return len(paths)


def _shorter_side(path: Path) -> int:
    with Image.open(path) as image:
        return min(image.size)
