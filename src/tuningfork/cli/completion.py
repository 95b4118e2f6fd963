"""Shell completion: names of models, stretches, recipes, decision trees and sources of images."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["models", "recipes", "sources", "stretches", "trees"]


def models(incomplete: str) -> list[str]:
    """Names of the shipped models."""
    from ..model.bundle import builtin_models

    return _beginning(builtin_models(), incomplete)


def stretches(incomplete: str) -> list[str]:
    """Names of the stretches of FITS images."""
    from ..images.fits.stretch import AUTO, preset_names

    return _beginning((AUTO, *preset_names()), incomplete)


def recipes(incomplete: str) -> list[str]:
    """Names of the shipped recipes; none without the libraries of training."""
    try:
        from ..training.recipe import builtin_recipes
    except ImportError:
        return []
    return _beginning(builtin_recipes(), incomplete)


def trees(incomplete: str) -> list[str]:
    """Names of the shipped decision trees."""
    from ..votes.tree_files import builtin_trees

    return _beginning(builtin_trees(), incomplete)


def sources(incomplete: str) -> list[str]:
    """Names of the surveys, those with an identifier up to their colon."""
    from ..surveys.registry import survey_names

    return _beginning(dict.fromkeys(name.partition(":")[0] for name in survey_names()), incomplete)


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
