"""`tuningfork population`: how many galaxies fulfil a rule, with the errors of classification and sampling."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .._utils.text import bounds_text, counted, percent
from .command_line import app
from .console import echo, print_json
from .errors import libraries, must_exist, trouble
from .files import writing
from .options import JsonOption, OverwriteOption
from .screen import print_table

if TYPE_CHECKING:
    from ..evaluation.population import Population, PopulationCount
    from ..votes.rules import Rule
    from ..votes.tree import DecisionTree

__all__ = ["population"]


@app.command()
def population(
    votes: Annotated[Path, typer.Argument(help="Table written by `tuningfork predict`, or its folder of parts.")],
    rule: Annotated[list[str], typer.Option("--rule", help="Condition on vote fractions; may be repeated. See above.")],
    by: Annotated[str | None, typer.Option("--by", help="Column to count by, such as a redshift.")] = None,
    bins: Annotated[
        str | None,
        typer.Option(help="Edges, such as 0,0.05,0.1; or how many bins of equally many galaxies.  [default: 5]"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Table to write: a row for each rule and bin.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Figure to draw: .png, .svg or .pdf.")] = None,
    draws: Annotated[int, typer.Option(min=20, max=10_000, help="Draws of each galaxy's fractions.")] = 200,
    level: Annotated[float, typer.Option(help="Level of the intervals.")] = 0.9,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Model that made the predictions.  [default: as the table says]"),
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Count galaxies that fulfil a rule, from draws of their vote fractions.

    A threshold on predicted fractions is biased; draws from their posterior are not. The error of the classification
    and that of the sampling, of a small sample from a large population, are given apart and together.

    A rule compares fractions with numbers by >=, >, <=, < and combines comparisons with and, or, not and parentheses.
    `bar_yes` is the share of all volunteers (as in the thresholds of clean samples), `bar_yes_fraction` of those who
    are asked; `smooth`, `features`: an answer that only one question has; `class:4`: the clean sample of class 4.

    Rows without a prediction, with a blank --by, or in no bin are counted and left out. --plot needs
    `pip install '.[report]'`.

    Examples:

        tuningfork population votes.parquet --rule 'smooth >= 0.8'

        tuningfork population votes.parquet --rule 'features >= 0.43 and bar_yes_fraction >= 0.5' --by redshift

        tuningfork population votes.parquet --rule class:4 --rule class:5 --by redshift --plot bars.svg -o bars.csv
    """
    must_exist([votes])
    if not 0 < level < 1:
        raise typer.BadParameter("a number between 0 and 1", param_hint="--level")
    if bins is not None and by is None:
        raise typer.BadParameter("they are of a column: name it with --by", param_hint="--bins")
    if plot and plot == output:
        raise typer.BadParameter("name another file than --output", param_hint="--plot")
    with (
        trouble(),
        writing(output, [votes, model], overwrite) as output,
        writing(plot, [votes, model], overwrite) as plot,
    ):
        from ..evaluation.population import PopulationOptions, count_population
        from ..evaluation.population_bins import BinError, Bins, bins_of, parse_bins
        from ..evaluation.population_table import PopulationTable, posterior_of
        from ..tables import check_format, write_table

        try:
            edges = parse_bins(bins)
        except BinError as error:
            raise typer.BadParameter(str(error), param_hint="--bins") from None
        if output:
            check_format(output)
        if plot:
            with libraries("a plot", "report"):
                from ..display.plot_style import FILE_KINDS
            if plot.suffix.lower() not in FILE_KINDS:
                raise typer.BadParameter(f"{plot}: one of {', '.join(FILE_KINDS)} is expected", param_hint="--plot")
        table = PopulationTable(votes)
        bundle, posterior = posterior_of(table.about, model)
        rules = _rules(rule, bundle.tree)
        chosen = bins_of(by, edges, table.values(by)) if by else Bins()
        result = count_population(
            table.blocks(rules, by or ""), posterior, rules, chosen, PopulationOptions(draws, level, seed)
        )
        if output:
            write_table(output, result.to_table())
        if plot:
            from ..display.plot_style import save_plot
            from ..display.population_plot import population_plot

            save_plot(population_plot(result.to_table().to_pylist(), by or ""), plot)
        if as_json:
            print_json(
                {**result.to_dict(), "names": {name: text for each in rules for name, text in each.meanings.items()}}
            )
        else:
            _print_population(result, rules, by or "")


def _rules(texts: list[str], tree: DecisionTree) -> list[Rule]:
    from ..votes.rules import RuleError, parse_rule

    rules = []
    for text in texts:
        try:
            rules.append(parse_rule(text, tree))
        except RuleError as error:
            echo(f"error: {error}", err=True)
            echo(error.pointer(), err=True, lines=True)
            raise typer.Exit(2) from None
    return rules


_HEADER = ("galaxies", "count", "fraction", "classification", "sampling", "both", "thresholded")


def _print_population(result: Population, rules: list[Rule], by: str) -> None:
    galaxies = counted(result.galaxies, "galaxy", "galaxies")
    echo(f"{galaxies}, {result.draws} draws; {percent(result.level)} intervals, of counts by the classification")
    for reason, count in result.left_out.items():
        echo(f"left out: {counted(count, 'row', 'rows')}, {reason}", err=True)
    for note in result.notes:
        echo(f"note: {note}", err=True)
    per_rule = len(result.counts) // len(rules)
    for number, rule in enumerate(rules):
        of_rule = result.counts[number * per_rule : (number + 1) * per_rule]
        print_table((by, *_HEADER), map(_cells, of_rule), title=rule.text)
        for name, text in rule.meanings.items():
            echo(f"  {name}: {text}")


def _cells(each: PopulationCount) -> tuple[str, ...]:
    if each.fraction is None or each.count_interval is None:
        return (each.bin, "0", *("–",) * 5, "0")
    low, high = each.count_interval
    shares = (each.classification_interval, each.sampling_interval, each.total_interval)
    return (
        each.bin,
        str(each.galaxies),
        f"{each.count:.0f} ({bounds_text(low, high, 0)})",
        f"{each.fraction:.4f}",
        *(bounds_text(*(pair or (None, None))) for pair in shares),
        str(each.thresholded),
    )
