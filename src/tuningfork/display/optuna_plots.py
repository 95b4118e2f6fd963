"""Optuna's own plots of a hyperparameter search, as PNG files."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np

__all__ = ["BEST_QUANTILE", "optuna_figures"]

#: The importance of a search's parameters: which separate this fraction of the best trials from the others.
BEST_QUANTILE = 0.25


def optuna_figures(study: Any, monitor: str, *, importance: bool) -> dict[str, bytes]:
    """Optuna's own plots of a search as PNG files: ``history``, ``slices`` and, if wanted, ``importance``.

    Parameters
    ----------
    study : optuna.Study
        Complete trials with finite values.
    monitor : str
        Label of the values, lower is better.
    importance : bool
        Whether there are enough trials to estimate the parameters' importance (PED-ANOVA).
    """
    import optuna

    if "matplotlib.pyplot" not in sys.modules:
        matplotlib.use("agg")  # optuna draws with pyplot, which would look for a screen
    from matplotlib import pyplot

    values = [trial.value for trial in study.trials]
    low, middle, high = np.percentile(values, (0, 50, 75))
    # One trial that diverges would flatten all others: it is drawn at the upper edge.
    top = max(high + 3 * (high - low), middle * 1.02)
    clipped = optuna.create_study()
    clipped.add_trials(
        optuna.create_trial(params=trial.params, distributions=trial.distributions, value=min(trial.value, top))
        for trial in study.trials
    )
    names = sorted({name for trial in study.trials for name in trial.params})
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BEST_QUANTILE)
    plots = optuna.visualization.matplotlib
    figures = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna's plots are marked experimental
        draws: dict[str, Callable[[], Any]] = {
            "history": lambda: plots.plot_optimization_history(clipped, target_name=monitor),
            "slices": lambda: plots.plot_slice(clipped, params=names, target_name=monitor),
            "importance": lambda: plots.plot_param_importances(study, evaluator=evaluator),
        }
        for name, draw in draws.items():
            if name == "importance" and not importance:
                continue
            axes = np.ravel(np.asarray(draw(), object))
            figure = axes[0].figure
            if name == "slices":
                figure.set_size_inches(2.4 * len(axes), 3.4)
            if name == "importance":
                axes[0].legend().remove()
            stream = io.BytesIO()
            # Cropped rather than laid out anew, which would move the colour bar between the panels.
            figure.savefig(stream, format="png", dpi=100, bbox_inches="tight", metadata={"Software": None})
            figures[name] = stream.getvalue()
            pyplot.close(figure)
    return figures
