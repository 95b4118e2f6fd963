"""Gives the networks of a bundle the output `features`, for models that were exported before it was.

    python scripts/add_features.py src/tuningfork/models/default

Weights and logits stay as they are, bit for bit; the bundle's digest and its card are made anew.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from tuningfork.model.bundle import open_bundle, write_bundle
from tuningfork.model.card import model_card
from tuningfork.training.export_onnx import with_features


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path)
    for folder in parser.parse_args().bundles:
        bundle = open_bundle(folder)
        networks = tuple(replace(network, onnx=with_features(network.onnx)) for network in bundle.networks)
        seeing = replace(bundle, networks=networks)
        write_bundle(seeing, folder)
        (folder / "CARD.md").write_text(model_card(seeing), encoding="utf-8")
        print(f"{folder}: {bundle.sha256} → {seeing.sha256}")


if __name__ == "__main__":
    main()
