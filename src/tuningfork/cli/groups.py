"""The commands by the groups of `tuningfork --help`, each with the modules that define it."""

from __future__ import annotations

__all__ = ["GROUPS", "group_of", "modules_of"]

#: Group → command → its modules, all in the order of the help.
GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "Predict": {
        "predict": ("predict",),
        "demo": ("demo",),
        "measure": ("measure",),
        "models": ("models",),
        "export": ("export",),
        "bench": ("bench",),
    },
    "Data": {
        "cutouts": ("cutouts",),
        "merge": ("merge",),
        "match": ("match",),
        "send": ("send",),
        "simulate": ("simulate",),
        "cache": ("cache",),
    },
    "Label and train": {
        "rank": ("rank",),
        "label": ("label",),
        "train": ("train",),
        "calibrate": ("calibrate",),
    },
    "Evaluate": {
        "evaluate": ("evaluate",),
        "classes": ("evaluate",),
        "lint": ("evaluate",),
        "select": ("select",),
        "purity": ("purity",),
        "score": ("score",),
        "ood": ("ood",),
        "report": ("report",),
        "study": (
            "study_search",
            "study_folds",
            "study_trust",
            "study_label_efficiency",
            "study_paper",
        ),
    },
    "Explore": {
        "index": ("index",),
        "similar": ("similar",),
        "map": ("map",),
        "gallery": ("gallery",),
        "plot": ("plot",),
        "population": ("population",),
    },
    "Serve": {
        "serve": ("serve",),
    },
}


def group_of(command: str) -> str | None:
    """The group of a command; None if it is in none."""
    return next((group for group, commands in GROUPS.items() if command in commands), None)


def modules_of(command: str | None = None) -> list[str]:
    """The modules that define a command; None, or no command of ours: those of all commands."""
    for commands in GROUPS.values():
        if command in commands:
            return list(commands[command])
    return [module for commands in GROUPS.values() for modules in commands.values() for module in modules]
