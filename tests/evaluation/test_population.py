"""Counts of a population: calibrated on simulated galaxies, and nothing is dropped unsaid."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from dirichlet import dirichlet_galaxies

from tuningfork import load_tree
from tuningfork.evaluation import population_table
from tuningfork.evaluation.population import GalaxyBlock, PopulationError, PopulationOptions, count_population
from tuningfork.evaluation.population_bins import BinError, Bins, bins_of, parse_bins
from tuningfork.evaluation.population_table import PopulationTable, posterior_of
from tuningfork.model.bundle import BundleError, open_bundle
from tuningfork.model.calibration import Calibration
from tuningfork.model.posterior_fit import fit_posterior
from tuningfork.tables import write_table
from tuningfork.votes.fractions import conditional_from_cumulative
from tuningfork.votes.rules import parse_rule

TREE = load_tree("gz2")
SMOOTH, BARRED = parse_rule("smooth >= 0.8", TREE), parse_rule("features >= 0.4 and bar_yes_fraction >= 0.5", TREE)


def galaxies(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return dirichlet_galaxies(TREE, count, seed)


@pytest.fixture(scope="module")
def posterior():
    return fit_posterior(*galaxies(1500, 0), TREE, n_views=1)


def blocks(predicted: np.ndarray, values: np.ndarray | None = None, size: int = 300) -> list[GalaxyBlock]:
    fractions = conditional_from_cumulative(predicted, TREE)
    rows = [slice(first, first + size) for first in range(0, len(predicted), size)]
    ids = [str(n) for n in range(len(predicted))]
    none = np.zeros(len(predicted), bool)
    return [GalaxyBlock(ids[r], fractions[r], None if values is None else values[r], none[r]) for r in rows]


def test_counts_from_draws_hold_the_truth_where_thresholds_do_not(posterior) -> None:
    predicted, true = galaxies(2500, 1)
    result = count_population(blocks(predicted), posterior, [SMOOTH, BARRED], Bins(), PopulationOptions(100))
    for each, rule in zip(result.counts, (SMOOTH, BARRED), strict=True):
        truth = int((rule.fits(true) == 1).sum())
        assert each.galaxies == 2500
        assert each.thresholded == (rule.fits(predicted) == 1).sum()
        low, high = each.count_interval
        assert low - 20 <= truth <= high + 20
        assert abs(each.thresholded - truth) > 2 * abs(each.count - truth)
        # Errors of both kinds add.
        widths = [np.ptp(pair) for pair in (each.classification_interval, each.sampling_interval, each.total_interval)]
        assert widths[2] == pytest.approx(np.hypot(*widths[:2]), rel=0.2)
        assert each.fraction == pytest.approx(each.count / 2500)


def test_blocks_do_not_matter_and_bins_add_up(posterior) -> None:
    predicted, _ = galaxies(400, 2)
    redshift = np.random.default_rng(3).uniform(0, 0.2, 400)
    redshift[:7], redshift[7:10] = np.nan, 0.9
    options, edges = PopulationOptions(50), bins_of("z", (0.0, 0.05, 0.1, 0.2, 0.3), ())
    small, large = (
        count_population(blocks(predicted, redshift, size), posterior, [SMOOTH], edges, options) for size in (61, 400)
    )
    assert small.counts == large.counts
    assert small.left_out == {"z is blank": 7, "z is in no bin": 3}
    assert small.galaxies == 390 == sum(each.galaxies for each in small.counts)
    for each, (low, high) in zip(small.counts, edges.edges, strict=True):
        assert each.galaxies == ((redshift >= low) & (redshift < high)).sum()
    empty = small.counts[-1]
    assert (empty.galaxies, empty.count, empty.fraction, empty.count_interval) == (0, 0.0, None, None)
    assert json.loads(json.dumps(small.to_dict(), allow_nan=False))["counts"][-1]["total_low"] is None


def test_what_is_left_out_or_doubtful_is_told(posterior) -> None:
    predicted, _ = galaxies(30, 4)
    (block,) = blocks(predicted)
    fractions = block.fractions.copy()
    fractions[:3] = np.nan
    block = replace(block, fractions=fractions, ids=["a", *block.ids[1:29], "5"], out_of_domain=np.arange(30) < 5)
    result = count_population([block], posterior, [SMOOTH], Bins(), PopulationOptions(20))
    assert result.left_out == {"without a prediction": 3}
    assert result.notes == (
        "2 of the 27 counted are flagged as out of domain; their fractions may mean nothing",
        "1 rows have the ID of an earlier row; they are counted again",
    )


def test_questions_without_posterior_are_refused() -> None:
    predicted, true = galaxies(100, 5)
    true[:, TREE.slices[1]] = np.nan
    few = fit_posterior(predicted, true, TREE, n_views=1)
    count_population(blocks(predicted), few, [SMOOTH], Bins(), PopulationOptions(20))
    with pytest.raises(PopulationError, match=r"needs draws of edge_on, which the model has not \(0 galaxies"):
        count_population(blocks(predicted), few, [BARRED], Bins(), PopulationOptions(20))
    with pytest.raises(PopulationError, match="at least 20 draws"):
        PopulationOptions(draws=3)


def test_bins() -> None:
    assert parse_bins("4") == 4
    assert parse_bins("0, 0.5,1") == (0.0, 0.5, 1.0)
    for wrong, reason in (("a", "expected"), ("0", "1 to"), ("1.5", "1 to"), ("1,0", "ascend"), ("0,nan", "finite")):
        with pytest.raises(BinError, match=reason):
            parse_bins(wrong)
    values = np.array([3.0, 1.0, np.nan, 2.0, 4.0])
    quarters = bins_of("x", 2, [values[:2], values[2:]])
    np.testing.assert_array_equal(quarters.places(values, 5), [1, 0, -1, 0, 1])
    np.testing.assert_array_equal(bins_of("x", (1.0, 2.0), ()).places(values, 5), [-2, 0, -1, 0, -2])
    words = np.array(["b", "", "a", "b"], object)
    by_words = bins_of("survey", None, [words])
    assert by_words.names == ("a", "b")
    np.testing.assert_array_equal(by_words.places(words, 4), [1, -1, 0, 1])
    for column, bins, reason in (
        ([np.array([np.nan])], 3, "no numbers"),
        ([np.array([1.0, 1.0])], 3, "one value"),
        ([words], 3, "holds texts"),
        ([np.array(["", ""], object)], None, "blank in all"),
        ([np.arange(200).astype(str).astype(object)], None, "200 different"),
    ):
        with pytest.raises(BinError, match=reason):
            bins_of("x", bins, column)


@pytest.fixture(scope="module")
def bundle(posterior):
    return replace(open_bundle("default"), calibration=Calibration(posterior=posterior))


def table(predicted: np.ndarray, about: dict[str, str] | None = None) -> pa.Table:
    fractions = conditional_from_cumulative(predicted, TREE)
    columns = {"id": [f"g{n}" for n in range(len(predicted))]}
    columns |= {name: fractions[:, place].astype(np.float32) for place, name in enumerate(TREE.fraction_names)}
    columns |= {"redshift": np.linspace(0, 0.2, len(predicted)), "survey": ["N", "S"] * (len(predicted) // 2)}
    return pa.table(columns).replace_schema_metadata(about or {})


def test_every_format_and_a_folder_of_parts_count_alike(posterior, tmp_path: Path) -> None:
    predicted, _ = galaxies(40, 6)
    rows = table(predicted)
    (tmp_path / "parts").mkdir()
    write_table(tmp_path / "votes.csv", rows)
    write_table(tmp_path / "votes.parquet", rows)
    write_table(tmp_path / "parts" / "a.parquet", rows.slice(0, 15))
    write_table(tmp_path / "parts" / "b.parquet", rows.slice(15))
    counts = []
    for name in ("votes.csv", "votes.parquet", "parts"):
        opened = PopulationTable(tmp_path / name)
        bins = bins_of("survey", None, opened.values("survey"))
        blocks_ = opened.blocks([SMOOTH, BARRED], "survey")
        counts.append(count_population(blocks_, posterior, [SMOOTH, BARRED], bins, PopulationOptions(30)).counts)
        assert [each.bin for each in counts[-1]] == ["N", "S", "N", "S"]
        assert np.isfinite(np.concatenate(list(opened.values("redshift")))).all()
    # The CSV has decimals.
    assert counts[1] == counts[2]
    for csv, parquet in zip(counts[0], counts[1], strict=True):
        assert csv.count == pytest.approx(parquet.count, abs=0.5)


def test_tables_that_cannot_be_counted(tmp_path: Path) -> None:
    rows = table(galaxies(4, 7)[0])
    write_table(tmp_path / "votes.csv", rows)
    with pytest.raises(PopulationError, match="no column 'z'; beside fractions the table has id, redshift, survey"):
        next(PopulationTable(tmp_path / "votes.csv").values("z"))
    write_table(tmp_path / "kaggle.csv", rows.select(["id"]))
    with pytest.raises(PopulationError, match="not in Kaggle's layout"):
        next(PopulationTable(tmp_path / "kaggle.csv").blocks([SMOOTH]))
    for value, reason in ((7.0, "not between 0 and 1"), ("x", "'x' is not a number")):
        place = rows.schema.get_field_index("odd_yes_fraction")
        bad = rows.set_column(place, "odd_yes_fraction", pa.array([value] * 4))
        write_table(tmp_path / f"{value}.csv", bad)
        with pytest.raises(PopulationError, match=reason):
            next(PopulationTable(tmp_path / f"{value}.csv").blocks([parse_rule("odd_yes > .5", TREE)]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(PopulationError, match="without parts"):
        PopulationTable(tmp_path / "empty")
    with pytest.raises(BinError, match="holds texts"):
        bins_of("survey", (0.0, 1.0), ()).places(np.array(["N"], object), 1)


def test_a_table_that_r_or_topcat_saved_again(tmp_path: Path) -> None:
    rows = table(galaxies(4, 7)[0])
    names = ["ID" if name == "id" else name for name in rows.column_names]
    write_table(tmp_path / "t.csv", rows.rename_columns(names))
    lines = (tmp_path / "t.csv").read_text().splitlines()
    cells = lines[1].split(",")
    lines[1] = ",".join([cells[0], *["NA"] * (len(cells) - 1)])
    (tmp_path / "t.csv").write_text("\n".join(lines))
    opened = PopulationTable(tmp_path / "t.csv")
    (block,) = opened.blocks([SMOOTH], "redshift")
    assert block.ids == ["g0", "g1", "g2", "g3"]
    assert np.isnan(block.fractions[0]).all()
    assert np.isnan(block.values).tolist() == [True, False, False, False]


def test_the_model_of_a_table(bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(population_table, "open_bundle", lambda name: bundle)
    about = {"model": "default", "model_sha256": bundle.sha256, "views": "1"}
    assert posterior_of(about) == (bundle, bundle.calibration.posterior)
    for change, reason in (
        ({"model": "mine"}, "'mine', which does not come with the package"),
        ({"model": ""}, "does not name"),
        ({"model_sha256": "0"}, "another version"),
        ({"views": "8"}, "predicted with --views 8"),
    ):
        with pytest.raises(PopulationError, match=reason):
            posterior_of({**about, **change})
    assert posterior_of({**about, "model_sha256": "0"}, "default")[0] is bundle
    monkeypatch.setattr(population_table, "open_bundle", lambda name: replace(bundle, calibration=None))
    with pytest.raises(PopulationError, match="calibrate it"):
        posterior_of({"model": "default"})
    monkeypatch.undo()
    with pytest.raises(BundleError):
        posterior_of({}, "no-such-model")


def test_command(run, bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(population_table, "open_bundle", lambda name: bundle)
    about = {"model": "default", "model_sha256": bundle.sha256, "views": "1"}
    write_table(tmp_path / "votes.parquet", table(galaxies(40, 8)[0], about))
    words = ("population", tmp_path / "votes.parquet", "--rule", "smooth >= 0.8", "--draws", 20)
    shown = run(*words, "--rule", "class:4").output
    assert "40 galaxies, 20 draws; 90 % intervals" in shown
    assert 'smooth: share of all volunteers who answer "smooth" (smooth or features)' in shown
    figure, output = tmp_path / "z.svg", tmp_path / "z.csv"
    plain = json.loads(run(*words, "--by", "redshift", "--bins", 2, "--plot", figure, "-o", output, "--json").output)
    assert [each["galaxies"] for each in plain["counts"]] == [20, 20]
    assert b"redshift" in figure.read_bytes() or figure.stat().st_size > 1000
    assert output.read_text().count("\n") == 3
    error = run("population", tmp_path / "votes.parquet", "--rule", "smooth > .5 and bary > .3", code=2).output
    assert "character 17: no fraction is called 'bary'; did you mean bar_yes?" in error
    assert f"\n  {' ' * 16}^" in error
    run(*words, "--bins", 3, code=2)
    run(*words, "--by", "redshift", "--bins", "3,1", code=2)
    assert "no column 'z'" in run(*words, "--by", "z", code=1).output
