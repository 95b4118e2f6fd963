"""The command line: thin, and the only room that prints."""

# The order of the imports is the order of the commands in --help.
from .options import app, main

from .predict import predict  # isort: skip
from .cutouts import cutouts  # isort: skip
from .merge import merge  # isort: skip
from .match import match  # isort: skip
from .send import send  # isort: skip
from .evaluate import classes, evaluate, lint  # isort: skip
from .rank import rank  # isort: skip
from .select import select  # isort: skip
from .label import label  # isort: skip
from .index import index  # isort: skip
from .similar import similar  # isort: skip
from .score import score  # isort: skip
from .simulate import simulate  # isort: skip
from .train import train  # isort: skip
from .calibrate import calibrate  # isort: skip
from .ood import ood  # isort: skip
from .study import study_app  # isort: skip
from .study_search import search  # isort: skip
from .study_folds import folds  # isort: skip
from .study_trust import trust  # isort: skip
from .study_label_efficiency import label_efficiency  # isort: skip
from .study_paper import paper  # isort: skip
from .report import report  # isort: skip
from .map import map  # isort: skip
from .bench import bench  # isort: skip
from .serve import serve  # isort: skip
from .models import models  # isort: skip
from .export import export  # isort: skip
from .demo import demo  # isort: skip

__all__ = [
    "app",
    "bench",
    "calibrate",
    "classes",
    "cutouts",
    "demo",
    "evaluate",
    "export",
    "folds",
    "index",
    "label",
    "label_efficiency",
    "lint",
    "main",
    "map",
    "match",
    "merge",
    "models",
    "ood",
    "paper",
    "predict",
    "rank",
    "report",
    "score",
    "search",
    "select",
    "send",
    "serve",
    "similar",
    "simulate",
    "study_app",
    "train",
    "trust",
]
