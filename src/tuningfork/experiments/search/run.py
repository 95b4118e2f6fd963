"""A search for a recipe's settings: many short trainings that optuna proposes, judged by the validation part alone."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from ..._utils.files import lock
from ..._utils.processes import available_cores
from ...training.initial.weights import check_init
from ...training.join import TrainError, read_training_set
from ...training.options import Hardware, TrainingOptions
from ...training.recipe import Recipe
from ...training.train import train
from ...votes.label_table import read_labels
from .output import Search, TrialRow, write_all, write_trials
from .space import Dimension, applied, own_values, shortened, space_around, suggested
from .store import SearchError, check_same, fingerprint, first_line, opened

__all__ = ["search"]

#: Proposals at random before optuna's model of the trials takes over.
_RANDOM_TRIALS = 8
#: So many failures, one after the other, are no accident.
_FAILURES = 3
#: Importances of fewer trials are noise. They tell what sets the best quarter apart.
_TRIALS_FOR_IMPORTANCE, _BEST_SHARE = 10, 0.25
#: What is kept of every trial, and of the best.
_KEPT = ("run.json", "curves.csv", "result.json")
_KEPT_OF_BEST = (*_KEPT, "bundle", "best.ckpt", "split.csv")
_STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


class _Enough(Exception):
    """A training that has run all its epochs without leading: its model is not wanted."""


def search(
    labels: str | Path,
    images: Sequence[str | Path],
    output: str | Path,
    recipe: Recipe,
    *,
    trials: int = 20,
    epochs: int | None = None,
    sizes: Sequence[int] = (),
    minutes: float | None = None,
    seed: int = 0,
    init: str | Path | None = None,
    cache: str | Path | None = None,
    workers: int = 1,
    threads: int = 0,
    command: str = "",
    train: Callable[..., Any] = train,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int], None] | None = None,
) -> Search:
    """Search around `recipe` until `trials` trainings are complete or pruned; called again, it goes on.

    The first trial has the recipe's own settings, as near as the space has them. The test part is not looked at.

    Parameters
    ----------
    output : path
        Folder for search.sqlite3, trials/NUMBER, and what `search_output.write_all` writes.
    epochs : int
        Length of each trial; the recipe is shortened with its shape kept.
    sizes : ints
        Input sizes to choose from, in pixels.
    minutes : float
        Once they are over, no further trial begins.
    seed : int
        Of the proposals; trainings keep the recipe's seed.
    init, cache, workers, threads
        As `train.fit.train` takes them.
    command : str
        What a person typed, for the files written.
    train : function
        What trains; tests have their own.
    progress : function of (pictures done, pictures in all)
        As `sources.read_training_set` takes it, before the first trial.

    Raises
    ------
    SearchError
        If the folder holds another search, or trial after trial fails.
    TrainError, CacheError
        If the data are unusable.
    """
    begun = time.monotonic()
    output = Path(output)
    if sizes and recipe.size not in sizes:
        recipe = recipe.changed(size=min(sizes, key=lambda size: abs(size - recipe.size)))
    short = shortened(recipe, epochs)
    space = space_around(short, sizes)
    output.mkdir(parents=True, exist_ok=True)
    # A second search would take the first one's trial for that of a killed one.
    busy = SearchError(f"{output}: another search is at work there")
    with lock(output / ".search.lock", busy), opened(output / "search.sqlite3") as study:
        check_init(short, init)
        folders = [Path(path) for path in images]
        table = read_labels(labels, short.tree, learning=True)
        data = read_training_set(table, folders, short, Path(cache) if cache else None, progress)
        check_same(study, output, fingerprint(data, short, space, init, seed))
        counts = data.counts(table.tree)["galaxies"]
        say(f"galaxies: {counts['train']} to train on, {counts['validation']} to judge by; "
            f"left out: {len(data.errors)}")  # fmt: skip
        _take_up(study, output, say)

        def state() -> Search:
            return Search(
                rows=_rows(study, space),
                monitor=short.monitor,
                wanted=trials,
                recipe=recipe,
                short=short,
                space=space,
                importances=_importances(study),
                command=command,
                hardware=_hardware(threads),
                counts=counts,
                errors=data.errors,
            )

        failures = 0
        try:
            while len(state().finished) < trials:
                if minutes is not None and time.monotonic() - begun >= 60 * minutes:
                    say(f"{minutes:g} minutes are over; the same command goes on")
                    break
                row = _one_trial(
                    study, output, space, short, seed,
                    lambda folder, values, on_epoch: train(
                        labels, images, folder, applied(short, values),
                        options=TrainingOptions(name=f"trial-{folder.name}", init=init, cache=cache),
                        hardware=Hardware(workers=workers, threads=threads, devices="1"), on_epoch=on_epoch,
                    ),
                )  # fmt: skip
                now = state()
                write_trials(output / "trials.csv", now)
                say(_line(row, now))
                failures = failures + 1 if row.state == "failed" else 0
                if failures == _FAILURES:
                    raise SearchError(f"{failures} trials in a row failed, the last with: {row.reason}")
        finally:
            write_all(output, state())
        return state()


def _one_trial(
    study: optuna.Study,
    output: Path,
    space: Sequence[Dimension],
    recipe: Recipe,
    seed: int,
    run: Callable[[Path, dict[str, float], Callable[[int, dict[str, float]], None]], Any],
) -> TrialRow:
    trial = _asked(study, seed, space)
    folder = output / "trials" / f"{trial.number:04d}"
    shutil.rmtree(folder, ignore_errors=True)  # of a search whose file was deleted
    leader = _best(study)
    seen: list[float] = []

    def watch(epoch: int, figures: dict[str, float]) -> None:
        value = figures.get(recipe.monitor, math.nan)
        if math.isfinite(value):
            seen.append(value)
            trial.report(value, epoch)
        if epoch < recipe.epochs:
            if trial.should_prune():
                raise optuna.TrialPruned(f"no better than the median of the complete trials at epoch {epoch}")
        elif leader is not None and seen and min(seen) >= leader.value:
            # Export and prediction take as long as some epochs; only a trial that leads is worth them.
            raise _Enough

    started = time.monotonic()
    state, reason = TrialState.COMPLETE, ""
    try:
        values = suggested(trial, space)
        with suppress(_Enough):
            run(folder, values, watch)
        if not seen:
            raise TrainError(f"no epoch gave a finite {recipe.monitor}")
    except optuna.TrialPruned as error:
        state, reason = TrialState.PRUNED, str(error)
    except (TrainError, RuntimeError, AssertionError, ValueError) as error:
        if not _began(folder):
            _give_up(study, trial, output, "stopped before the training began")
            raise
        # Where the loss explodes says something of the space: optuna learns from a pruned trial, not from a failed one.
        state = TrialState.PRUNED if isinstance(error, TrainError) else TrialState.FAIL
        reason = ("" if state is TrialState.PRUNED else f"{type(error).__name__}: ") + first_line(error)
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
        _give_up(study, trial, output, "interrupted" if interrupted else f"{type(error).__name__}: {error}")
        raise
    trial.set_user_attr("seconds", time.monotonic() - started)
    trial.set_user_attr("reason", reason)
    study.tell(trial, min(seen) if state is TrialState.COMPLETE else None, state)
    _tidy(study, output)
    return next(row for row in _rows(study, space) if row.number == trial.number)


def _asked(study: optuna.Study, seed: int, space: Sequence[Dimension]) -> optuna.Trial:
    before = study.get_trials(deepcopy=False)
    if not before:
        study.enqueue_trial(own_values(space))
    # Drawn anew for each proposal, so that a resumed search proposes what an uninterrupted one would have.
    proposals = sum("again_for" not in trial.user_attrs for trial in before)
    drawn = (seed * 1_000_003 + proposals) % 2**32
    study.sampler = optuna.samplers.TPESampler(n_startup_trials=_RANDOM_TRIALS, seed=drawn)
    return study.ask()


def _give_up(study: optuna.Study, trial: optuna.Trial, output: Path, reason: str) -> None:
    """What is left of a trial that was stopped from outside; its values get another trial."""
    trial.set_user_attr("reason", reason)
    study.tell(trial, state=TrialState.FAIL)
    _propose_again(study, study.trials[trial.number], output)


def _take_up(study: optuna.Study, output: Path, say: Callable[[str], None]) -> None:
    """Mark trials of a killed search as failed, and propose their values once more."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        _propose_again(study, trial, output)
        say(f"trial {trial.number} was killed; it is made up for")


def _propose_again(study: optuna.Study, trial: FrozenTrial, output: Path) -> None:
    shutil.rmtree(output / "trials" / f"{trial.number:04d}", ignore_errors=True)
    # Once: values that kill the process, by their need of memory say, would do so for ever.
    if trial.params and "again_for" not in trial.user_attrs:
        study.enqueue_trial(trial.params, user_attrs={"again_for": trial.number})


def _began(folder: Path) -> bool:
    """Whether the data and the network were good and the training itself had begun."""
    try:
        return "initial_weights" in json.loads((folder / "run.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False


def _tidy(study: optuna.Study, output: Path) -> None:
    """Only small files of each trial stay, and the model of the best.

    Predictions go even of the best: they are also of the test part, which nobody who searches may look at.
    """
    best = _best(study)
    for folder in (output / "trials").glob("[0-9]*"):
        kept = _KEPT_OF_BEST if best is not None and int(folder.name) == best.number else _KEPT
        for path in folder.iterdir():
            if path.name not in kept:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _best(study: optuna.Study) -> FrozenTrial | None:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return min(complete, key=lambda trial: (trial.value, trial.number), default=None)


def _rows(study: optuna.Study, space: Sequence[Dimension]) -> tuple[TrialRow, ...]:
    best = _best(study)
    rows = []
    for trial in study.get_trials(deepcopy=False, states=tuple(_STATES)):
        told = [value for value in trial.intermediate_values.values() if math.isfinite(value)]
        whole = len(trial.params) == len(space)  # a kill may come between two of them
        killed = trial.state is TrialState.FAIL and "reason" not in trial.user_attrs
        rows.append(
            TrialRow(
                number=trial.number,
                state=_STATES[trial.state],
                value=min(told, default=None),
                values=suggested(optuna.trial.FixedTrial(trial.params), space) if whole else {},
                epochs=max(trial.intermediate_values, default=0),
                seconds=trial.user_attrs.get("seconds"),
                reason="killed" if killed else trial.user_attrs.get("reason", ""),
                best=best is not None and trial.number == best.number,
            )
        )
    return tuple(rows)


def _line(row: TrialRow, now: Search) -> str:
    value = "" if row.value is None else f", {now.monitor} {row.value:.4f}"
    best = "" if now.best is None else f"; best {now.best.value:.4f} (trial {now.best.number})"
    return (
        f"trial {row.number}, {len(now.finished)} of {now.wanted} done: {row.state} after {row.epochs} epochs and "
        f"{row.seconds or 0:.0f} s{value}{f' ({row.reason})' if row.reason else ''}{best}"
    )


def _importances(study: optuna.Study) -> dict[str, float]:
    found = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    if len(found) < _TRIALS_FOR_IMPORTANCE:
        return {}
    # Optuna would leave out pruned trials, most of them in the end; they are none of the best quarter, and that is all
    # that must be known of them.
    told = [min(trial.intermediate_values.values(), default=math.inf) for trial in found]
    worst = max((value for value in told if math.isfinite(value)), default=0.0)
    everything = optuna.create_study()
    everything.add_trials(
        optuna.create_trial(params=trial.params, distributions=trial.distributions, value=min(value, worst + 1))
        for trial, value in zip(found, told, strict=True)
    )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=_BEST_SHARE)
    shares = optuna.importance.get_param_importances(everything, evaluator=evaluator)
    return {name: float(share) for name, share in shares.items()}


def _hardware(threads: int) -> str:
    cores = available_cores()
    used = f"{threads or cores} of {cores} cores"
    return f"{torch.cuda.get_device_name()}, {used}" if torch.cuda.is_available() else f"{used}, no GPU"
