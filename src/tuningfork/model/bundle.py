"""A trained model as files: networks in ONNX, everything else in one JSON; nothing is unpickled.

A bundle is a folder with ``bundle.json`` and one or more ``*.onnx``. Several networks are an
ensemble: their predictions are averaged. The JSON names each network's SHA-256 and its own.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from .._utils.files import atomic_file, write_text
from .._utils.text import nearest
from ..images.preprocess import Preprocess
from ..votes.tree import DecisionTree, SchemaError
from ..votes.tree_files import builtin_trees, load_tree
from ..votes.values_kind import UNKNOWN
from .bundle_json import (
    COPY_AGAIN,
    FORMAT,
    MAX_JSON_BYTES,
    BundleError,
    digest_of,
    json_text,
    read_description,
    text_digest,
)
from .calibration import Calibration
from .training_ids import TrainingIDs
from .views import check_n_views

__all__ = ["Bundle", "BundleError", "Network", "Outputs", "builtin_models", "open_bundle", "write_bundle"]

MAX_NETWORK_BYTES = 2 * 2**30
MAX_NETWORKS = 100
MAX_DOCUMENTS, MAX_DOCUMENT_BYTES = 20, 10**6


@dataclass(frozen=True, slots=True)
class Network:
    """One network: its ONNX bytes, the preprocessing that it was trained with, and timm's name for it."""

    onnx: bytes = field(repr=False)
    preprocess: Preprocess
    architecture: str = ""

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of the ONNX bytes."""
        return hashlib.sha256(self.onnx).hexdigest()


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the numbers mean that a network gives.

    Parameters
    ----------
    votes : "tree", "sigmoid" or ""
        "tree": a softmax in each question times the fraction that reached it, so that the tree's sums
        are exact; "sigmoid": each cumulative fraction by itself, as in Kalvankar et al. 2020, whose sums
        hold as far as they were learned; "": the network predicts no votes.
    classes : bool
        Whether the tree's classes follow, by a softmax.

    Raises
    ------
    ValueError
        If nothing would be predicted, or the kind is none of the three.
    """

    votes: str = "tree"
    classes: bool = True

    def __post_init__(self) -> None:
        if self.votes not in ("tree", "sigmoid", "") or type(self.classes) is not bool:
            raise ValueError(f"outputs: votes {self.votes!r} and classes {self.classes!r} are not known")
        if not self.votes and not self.classes:
            raise ValueError("outputs: neither votes nor classes")

    @classmethod
    def of(cls, task: str, output: str) -> Outputs:
        """Those of a network trained for `task` (both, votes or classes), its votes of the kind `output`."""
        return cls("" if task == "classes" else output, task != "votes")

    @property
    def task(self) -> str:
        """The inverse: both, votes or classes."""
        return "both" if self.votes and self.classes else "votes" if self.votes else "classes"

    def widths(self, tree: DecisionTree) -> tuple[int, int]:
        """How many numbers of each kind: answers, then classes."""
        return len(tree.columns) if self.votes else 0, len(tree.classes) if self.classes else 0


@dataclass(frozen=True)
class Bundle:
    """All that predicting needs, and all that a reader should know before trusting it.

    Parameters
    ----------
    name, title, description, licence : str
    tree : DecisionTree
        The questions that it answers.
    networks : tuple of Network
    outputs : Outputs
        Of every network: logits of the tree's answers, then of its classes.
    n_views : 1, 2, 4 or 8
        Rotated and reflected views averaged unless the user asks for another number.
    calibration : Calibration or None
        None: not calibrated.
    training, figures, versions : mappings
        Data's hash and counts, recipe; measured scores; library versions.
    documents : mapping of file name → text
        The card and licences that lie beside the networks; covered by the digest, too.
    limits, attribution : tuples of str
        What the model is known to fail at; whom to credit.
    """

    name: str
    title: str
    description: str
    licence: str
    tree: DecisionTree
    networks: tuple[Network, ...]
    n_views: int = 1
    calibration: Calibration | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    attribution: tuple[str, ...] = ()
    outputs: Outputs = Outputs()
    documents: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> DecisionTree:
        """Its tree, which says what kind of vote fractions the model learned (`values_kind`).

        A bundle that was written before this was recorded learned the kind of the package's tree of the same name.
        """
        if self.tree.values_kind != UNKNOWN or self.tree.name not in builtin_trees():
            return self.tree
        same = load_tree(self.tree.name)
        return self.tree.with_kind(same.values_kind, same.values_kind_source) if same == self.tree else self.tree

    @property
    def training_ids(self) -> TrainingIDs | None:
        """Hashes of the galaxies that it was trained, validated and calibrated on; None if it does not say.

        Raises
        ------
        BundleError
            If they are damaged.
        """
        if "id_hashes" not in self.training:
            return None
        try:
            return TrainingIDs.from_dict(self.training["id_hashes"])
        except ValueError as error:
            raise BundleError(f"model {self.name}: {error}; {COPY_AGAIN}") from None

    def to_dict(self) -> dict[str, Any]:
        """The JSON's content, with its own digest."""
        calibration = (self.calibration.to_dict() if self.calibration else {}) or None
        version = 3 if calibration else 1 if self.outputs == Outputs() else 2
        content: dict[str, Any] = {
            "format": FORMAT,
            "version": version,
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "licence": self.licence,
            "limits": list(self.limits),
            "attribution": list(self.attribution),
            "tree": self.tree.to_dict(),
            "networks": [
                {
                    "file": _file_name(number),
                    "sha256": network.sha256,
                    "bytes": len(network.onnx),
                    "architecture": network.architecture,
                    "preprocess": network.preprocess.to_dict(),
                }
                for number, network in enumerate(self.networks)
            ],
            **({} if version == 1 else {"outputs": asdict(self.outputs)}),
            "views": self.n_views,
            "calibration": calibration,
            "training": dict(self.training),
            "figures": dict(self.figures),
            "versions": dict(self.versions),
            **(
                {"documents": {name: text_digest(text) for name, text in self.documents.items()}}
                if self.documents
                else {}
            ),
        }
        return {**content, "sha256": digest_of(content)}

    @property
    def sha256(self) -> str:
        """One digest for networks and description together."""
        return str(self.to_dict()["sha256"])


def builtin_models() -> tuple[str, ...]:
    """Names of the models that come with the package."""
    folder = resources.files("tuningfork.model") / "models"
    if not folder.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in folder.iterdir() if (entry / "bundle.json").is_file()))


def open_bundle(name_or_path: str | Path = "default") -> Bundle:
    """A model that comes with the package, by name, or one from a folder.

    Raises
    ------
    BundleError
        If it is not there, any byte of it differs from what was written, its format is newer than
        this version, or it asks for something this version cannot do.
    """
    text = str(name_or_path)
    if text in builtin_models():
        folder = Path(str(resources.files("tuningfork.model") / "models" / text))
    else:
        folder = Path(name_or_path)
        if not os.path.isfile(folder / "bundle.json"):  # Path.is_file raises on a name that is too long
            raise BundleError(
                f"{text}: neither a model that comes with tuningfork ({', '.join(builtin_models()) or 'none'}) "
                f"nor a folder with a bundle.json{nearest(text, builtin_models())}"
            )
    description = folder / "bundle.json"
    content = read_description(description)
    try:
        networks = _networks(content, folder)
        tree = DecisionTree.from_dict(content["tree"])
        bundle = Bundle(
            name=content["name"],
            title=content["title"],
            description=content["description"],
            licence=content["licence"],
            limits=tuple(content["limits"]),
            attribution=tuple(content["attribution"]),
            tree=tree,
            networks=networks,
            n_views=check_n_views(content["views"]),
            calibration=_calibration(content, tree),
            training=content["training"],
            figures=content["figures"],
            versions=content["versions"],
            outputs=_outputs(content),
            documents=_documents(content, folder),
        )
    except BundleError:
        raise
    except KeyError as error:
        raise BundleError(f"{description}: entry {error} is missing; {COPY_AGAIN}") from None
    except (TypeError, ValueError, SchemaError) as error:
        raise BundleError(f"{description}: {error}; upgrade tuningfork, or {COPY_AGAIN}") from None
    return bundle


def write_bundle(bundle: Bundle, folder: str | Path) -> Path:
    """Write `bundle` into `folder`, networks first, so that a bundle.json always finds its networks."""
    target = Path(folder)
    # First of all, since figures that JSON cannot hold (NaN) raise here.
    text = json_text(bundle.to_dict())
    if len(text.encode()) > MAX_JSON_BYTES:
        raise BundleError(f"{target}: a description of more than {MAX_JSON_BYTES} bytes could not be opened again")
    target.mkdir(parents=True, exist_ok=True)
    for number, network in enumerate(bundle.networks):
        with atomic_file(target / _file_name(number)) as beside:
            beside.write_bytes(network.onnx)
    for name, document in bundle.documents.items():
        write_text(target / name, document)
    write_text(target / "bundle.json", text)
    return target


def _outputs(content: Mapping[str, Any]) -> Outputs:
    if content["version"] == 1:
        return Outputs()
    entry = content["outputs"]
    if not isinstance(entry, dict) or set(entry) - {"votes", "classes"}:
        raise ValueError(f"outputs {entry!r} are not known to this version")
    return Outputs(votes=entry["votes"], classes=entry["classes"])


def _calibration(content: Mapping[str, Any], tree: DecisionTree) -> Calibration | None:
    entry = content["calibration"]
    if content["version"] < 3:
        if entry is not None:
            raise ValueError("calibrated in a way that this version does not know")
        return None
    calibration = Calibration.from_dict(entry)
    calibration.check(tree)
    return calibration


def _documents(content: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """The texts beside the networks, each as it was written."""
    entries = content.get("documents", {})
    if not isinstance(entries, dict) or len(entries) > MAX_DOCUMENTS:
        raise ValueError(f"documents are no mapping of at most {MAX_DOCUMENTS} names")
    documents = {}
    for name, digest in entries.items():
        path = folder / name
        if Path(name).name != name or path.suffix in (".json", ".onnx"):
            raise ValueError(f"document {name!r} is not a plain file name")
        try:
            if not path.is_file() or path.stat().st_size > MAX_DOCUMENT_BYTES:
                raise BundleError(f"{path}: missing, or larger than {MAX_DOCUMENT_BYTES} bytes; {COPY_AGAIN}")
            documents[name] = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BundleError(f"{path}: cannot be read: {error}; {COPY_AGAIN}") from None
        if text_digest(documents[name]) != digest:
            raise BundleError(f"{path}: its text differs from what was written (SHA-256); {COPY_AGAIN}")
    return documents


def _file_name(number: int) -> str:
    return f"network-{number}.onnx"


def _networks(content: Mapping[str, Any], folder: Path) -> tuple[Network, ...]:
    entries: Sequence[Mapping[str, Any]] = content["networks"]
    if not 1 <= len(entries) <= MAX_NETWORKS:
        raise BundleError(f"{folder}: {len(entries)} networks; 1…{MAX_NETWORKS} are expected")
    networks = []
    for entry in entries:
        name = entry["file"]
        if Path(name).name != name or not name.endswith(".onnx"):
            raise BundleError(f"{folder}: network file {name!r} is not a plain .onnx name")
        path = folder / name
        try:
            if path.exists() and not path.is_file():
                raise BundleError(f"{path}: not a regular file; {COPY_AGAIN}")
            if path.stat().st_size > MAX_NETWORK_BYTES:
                raise BundleError(f"{path}: larger than {MAX_NETWORK_BYTES} bytes")
            data = path.read_bytes()
        except OSError as error:
            raise BundleError(f"{path}: cannot be read: {error.strerror}; {COPY_AGAIN}") from None
        network = Network(data, Preprocess.from_dict(entry["preprocess"]), str(entry["architecture"]))
        if network.sha256 != entry["sha256"]:
            raise BundleError(f"{path}: its bytes differ from what was written (SHA-256); {COPY_AGAIN}")
        networks.append(network)
    return tuple(networks)
