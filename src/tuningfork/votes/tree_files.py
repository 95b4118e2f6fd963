"""Decision trees on disk: those that come with the package, TOML files, and the tree of a bundle."""

from __future__ import annotations

import json
import tomllib
from importlib import resources
from pathlib import Path

from .tree import DecisionTree, SchemaError

__all__ = ["builtin_trees", "load_tree"]

#: A tree file larger than this is refused before it is parsed.
MAX_TREE_BYTES = 1_000_000
#: The description of a bundle, which holds its tree, and how large it may be.
_BUNDLE, MAX_BUNDLE_BYTES = "bundle.json", 16 * 2**20


def builtin_trees() -> tuple[str, ...]:
    """Names of the trees that come with the package."""
    folder = resources.files("tuningfork.votes") / "trees"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_tree(name_or_path: str | Path = "gz2") -> DecisionTree:
    """Load a decision tree.

    Parameters
    ----------
    name_or_path : str or path
        The name of a tree of the package (``gz2``, ``gz_decals``, ``gz1``), a TOML file, or a bundle's folder.

    Returns
    -------
    DecisionTree

    Raises
    ------
    SchemaError
        If there is no such tree or file, or it is not a valid tree.

    Examples
    --------
    >>> tree = load_tree("gz2")
    >>> len(tree.questions), len(tree.columns)
    (11, 37)
    """
    text = str(name_or_path)
    if text in builtin_trees():
        raw = (resources.files("tuningfork.votes") / "trees" / f"{text}.toml").read_bytes()
    else:
        path = Path(name_or_path)
        if (path / _BUNDLE).is_file():
            path /= _BUNDLE
        most = MAX_BUNDLE_BYTES if path.name == _BUNDLE else MAX_TREE_BYTES
        try:
            if path.stat().st_size > most:
                raise SchemaError(f"{path}: larger than {most} bytes, not a tree description")
            raw = path.read_bytes()
        except OSError as error:
            raise SchemaError(
                f"{text}: neither a tree that comes with tuningfork ({', '.join(builtin_trees())}) "
                f"nor a readable TOML file, nor a model's folder ({error.strerror})"
            ) from None
        if path.name == _BUNDLE:
            return _tree_of_bundle(raw, path)
    try:
        return DecisionTree.from_dict(tomllib.loads(raw.decode("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SchemaError(f"{text}: not valid TOML: {error}") from None
    except SchemaError as error:
        raise SchemaError(f"{text}: {error}") from None


def _tree_of_bundle(raw: bytes, path: Path) -> DecisionTree:
    try:
        return DecisionTree.from_dict(json.loads(raw)["tree"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SchemaError(f"{path}: holds no tree: {error}; copy the model again") from None
