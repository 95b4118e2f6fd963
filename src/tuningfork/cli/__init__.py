"""The command line: thin, and the only room that prints."""

# The order of the imports is the order of the commands in --help.
from .base import app, main

from .predicting import merge, predict  # isort: skip
from .cutting import cutouts  # isort: skip
from .matching import match  # isort: skip
from .sending import send  # isort: skip
from .judging import classes, evaluate, lint  # isort: skip
from .labelling import rank, select  # isort: skip
from .teaching import label  # isort: skip
from .finding import index, similar  # isort: skip
from .scoring import score  # isort: skip
from .learning import simulate, train  # isort: skip
from .calibrating import calibrate  # isort: skip
from .guarding import domain  # isort: skip
from .studying import study_app  # isort: skip
from .labour import labour  # isort: skip
from .paper import paper  # isort: skip
from .reporting import report  # isort: skip
from .mapping import map  # isort: skip
from .benching import bench  # isort: skip
from .serving import serve  # isort: skip
from .showing import demo, models  # isort: skip

__all__ = [
    "app",
    "bench",
    "calibrate",
    "classes",
    "cutouts",
    "demo",
    "domain",
    "evaluate",
    "index",
    "label",
    "labour",
    "lint",
    "main",
    "map",
    "match",
    "merge",
    "models",
    "paper",
    "predict",
    "rank",
    "report",
    "score",
    "select",
    "send",
    "serve",
    "similar",
    "simulate",
    "study_app",
    "train",
]
