"""Decision trees on disk: those that come with the package, TOML files, and the tree of a bundle."""

from __future__ import annotations

import json
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from .._utils.text import nearest
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
        The name of a tree of the package (``gz2``, ``gz_decals``, ``gz_euclid``, …), a TOML file, or a bundle's folder.

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
                f"nor a readable TOML file, nor a model's folder ({error.strerror}){nearest(text, builtin_trees())}"
            ) from None
        if path.name == _BUNDLE:
            return _tree_of_bundle(raw, path)
    try:
        data = tomllib.loads(raw.decode("utf-8"))
        return DecisionTree.from_dict(_derived(data) if "base" in data else data)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SchemaError(f"{text}: not valid TOML: {error}") from None
    except SchemaError as error:
        raise SchemaError(f"{text}: {error}") from None


def _derived(data: dict[str, Any]) -> dict[str, Any]:
    """The plain form of a tree of the package with other columns: those of a catalogue of the same campaign.

    `columns` maps QUESTION_ANSWER to a column; `replace_suffix`, a pair, changes the end of every column.
    """
    if data["base"] not in builtin_trees():
        raise SchemaError(f"base {data['base']!r} is none of {', '.join(builtin_trees())}")
    base = load_tree(data["base"])
    keys = base.answer_names
    columns = data.get("columns")
    old, new = data.get("replace_suffix", ("", ""))
    if columns is None:
        columns = {key: f"{column.removesuffix(old)}{new}" for key, column in zip(keys, base.columns, strict=True)}
    if set(columns) != set(keys):
        different = sorted(set(columns) ^ set(keys))
        raise SchemaError(f"columns: {different[0]!r} is missing, or no QUESTION_ANSWER of {data['base']}")
    renamed = {column: columns[key] for key, column in zip(keys, base.columns, strict=True)}
    tree = base.to_dict()
    for question in tree["questions"]:
        question["parent"] = renamed.get(question.get("parent"))
        for answer in question["answers"]:
            answer["column"] = renamed[answer["column"]]
    for rule in tree["classes"]:
        for part in ("all_of", "any_of"):
            rule[part] = {renamed[column]: least for column, least in rule[part].items()}
    own = {key: value for key, value in data.items() if key not in ("base", "columns", "replace_suffix")}
    return {**tree, **own}


def _tree_of_bundle(raw: bytes, path: Path) -> DecisionTree:
    try:
        return DecisionTree.from_dict(json.loads(raw)["tree"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SchemaError(f"{path}: holds no tree: {error}; copy the model again") from None
