"""The trials of a search as optuna stores them: rows, the best one, importances of the parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from ...display.optuna_plots import BEST_QUANTILE
from .output import TrialRow
from .space import Dimension, suggest

__all__ = ["best_trial", "importances", "trial_rows", "with_values"]

#: Importances of fewer trials are noise.
_TRIALS_FOR_IMPORTANCE = 10
_STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The complete trial of the lowest value; None if there is none."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return min(complete, key=lambda trial: (trial.value, trial.number), default=None)


def trial_rows(study: optuna.Study, space: Sequence[Dimension]) -> tuple[TrialRow, ...]:
    """All trials that have ended."""
    best = best_trial(study)
    rows = []
    for trial in study.get_trials(deepcopy=False, states=tuple(_STATES)):
        finite = [value for value in trial.intermediate_values.values() if math.isfinite(value)]
        complete = len(trial.params) == len(space)  # a kill may come between two of them
        killed = trial.state is TrialState.FAIL and "reason" not in trial.user_attrs
        rows.append(
            TrialRow(
                number=trial.number,
                state=_STATES[trial.state],
                value=min(finite, default=None),
                values=suggest(optuna.trial.FixedTrial(trial.params), space) if complete else {},
                epochs=max(trial.intermediate_values, default=0),
                seconds=trial.user_attrs.get("seconds"),
                reason="killed" if killed else trial.user_attrs.get("reason", ""),
                best=best is not None and trial.number == best.number,
            )
        )
    return tuple(rows)


def with_values(study: optuna.Study) -> optuna.Study:
    """All finished trials as complete ones, each with the lowest value of its epochs.

    Optuna would leave out pruned trials, most of them in the end. One without a finite value gets the worst.
    """
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    lowest = [min(trial.intermediate_values.values(), default=math.inf) for trial in finished]
    finite = [value for value in lowest if math.isfinite(value)]
    copy = optuna.create_study()
    if finite:
        copy.add_trials(
            optuna.create_trial(
                params=trial.params, distributions=trial.distributions, value=min(value, max(finite) + 1)
            )
            for trial, value in zip(finished, lowest, strict=True)
        )
    return copy


def importances(study: optuna.Study) -> dict[str, float]:
    """Importance of each parameter (PED-ANOVA, Watanabe et al. 2023), summing to 1; empty with too few trials."""
    trials = with_values(study)
    if len(trials.trials) < _TRIALS_FOR_IMPORTANCE:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BEST_QUANTILE)
    shares = optuna.importance.get_param_importances(trials, evaluator=evaluator)
    return {name: float(share) for name, share in shares.items()}
