"""`tuningfork rank`: tables and pictures in, an order out; what is left out is said."""

from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tuningfork.cli import app
from tuningfork.evaluation.prediction_table import predictions_from_table, read_predictions
from tuningfork.labelling import acquisition as ranking
from tuningfork.labelling.rank import RankOptions, labelled_ids, order_schema, rank, table_blocks
from tuningfork.model.embeddings import Embedder
from tuningfork.simulation import simulate
from tuningfork.tables import CatalogError
from tuningfork.tables.arrow import vector_array
from tuningfork.votes import fractions as votes
from tuningfork.votes.tree import DecisionTree


def predictions(tree: DecisionTree, count: int, seed: int = 0, **columns) -> pa.Table:
    """A table as `tuningfork predict` writes it, of random votes."""
    logits = 2 * np.random.default_rng(seed).normal(size=(count, len(tree.columns)))
    values = votes.conditional_from_logits(logits, tree).astype(np.float32)
    fractions = dict(zip(tree.fraction_names, values.T, strict=True))
    ids = [f"g{i}" for i in range(count)]
    return pa.table({"id": ids, "path": [f"{i}.jpg" for i in ids], **fractions, **columns, "error": [""] * count})


@pytest.fixture
def run():
    def invoke(*words, code=0):
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == code, result.output
        return result

    return invoke


@pytest.fixture
def table(tmp_path, gz2: DecisionTree):
    path = tmp_path / "votes.parquet"
    pa.parquet.write_table(predictions(gz2, 300), path, row_group_size=50)
    return path


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# ------------------------------------------------------------------ the library


def test_the_order_is_that_of_the_whole_table(table, gz2: DecisionTree) -> None:
    found = rank(table_blocks(table), gz2, RankOptions(count=40, seed=5))
    told = read_predictions(table, gz2)
    weights = ranking.question_entropies(told.votes.fractions, gz2).sum(-1)
    plain = ranking.weighted_seeding(ranking.hellinger(told.votes.fractions), weights, 40, seed=5)
    assert found.table["id"].to_pylist() == [told.ids[row] for row in plain.rows]
    assert found.table["uncertainty"].to_numpy() == pytest.approx(weights[plain.rows])
    assert found.table.schema == order_schema()
    assert found.table["distance"][0].as_py() is None
    assert (found.rows, found.compared, found.failed) == (300, 300, 0)


def test_every_galaxy_once_without_a_count(table, gz2: DecisionTree) -> None:
    found = rank(table_blocks(table), gz2)
    assert sorted(found.table["id"].to_pylist()) == sorted(f"g{i}" for i in range(300))
    assert found.table["rank"].to_pylist() == list(range(1, 301))


def test_blocks_do_not_matter_and_a_shortlist_bounds(table, gz2: DecisionTree) -> None:
    whole = pa.parquet.read_table(table)
    orders = [
        rank((whole.slice(i, step) for i in range(0, 300, step)), gz2, RankOptions(count=20, shortlist=60))
        .table["id"]
        .to_pylist()
        for step in (300, 64, 7)
    ]
    assert orders[0] == orders[1] == orders[2]
    assert rank([whole], gz2, RankOptions(shortlist=60)).table.num_rows == 60


def test_what_is_labelled_is_left_out_and_kept_away_from(gz2: DecisionTree) -> None:
    whole = predictions(gz2, 100)
    # Every galaxy twice, the second under another name.
    again = whole.set_column(0, "id", pa.array([f"copy{i}" for i in range(100)]))
    labelled = frozenset(f"g{i}" for i in range(60))
    found = rank([pa.concat_tables([whole, again])], gz2, RankOptions(count=40, labelled=labelled))
    chosen = found.table["id"].to_pylist()
    assert found.labelled == 60
    assert not labelled & set(chosen)
    # Copies of labelled galaxies lie at distance 0 (but for rounding), and the same for copies of chosen ones.
    assert sum(int(id_.removeprefix("copy")) < 60 for id_ in chosen if id_.startswith("copy")) == 0
    assert len({id_.removeprefix("copy").removeprefix("g") for id_ in chosen}) == 40


def test_out_of_domain_is_left_out_unless_asked(gz2: DecisionTree) -> None:
    marks = pa.array([True, False, None, False] * 5)
    block = predictions(gz2, 20, out_of_domain=marks)
    found = rank([block], gz2)
    assert (found.out_of_domain, found.table.num_rows, found.domain_known) == (5, 15, True)
    assert rank([block], gz2, RankOptions(out_of_domain=True)).table.num_rows == 20
    unknown = predictions(gz2, 20, out_of_domain=pa.nulls(20, pa.bool_()))
    assert not rank([unknown], gz2).domain_known
    assert rank([unknown], gz2).to_dict()["out_of_domain"] is None
    words = predictions(gz2, 20, out_of_domain=pa.array(["true", "false", None, "false"] * 5))
    assert rank([words], gz2).out_of_domain == 5


def test_rows_without_a_prediction_are_named(gz2: DecisionTree) -> None:
    good = predictions(gz2, 30)
    name = gz2.fraction_names[0]
    values = good[name].to_pylist()
    values[3], values[4] = None, 1.5
    errors = good["error"].to_pylist()
    errors[7] = "too small"
    spoilt = good.set_column(good.column_names.index(name), name, pa.array(values, pa.float32()))
    spoilt = spoilt.set_column(spoilt.column_names.index("error"), "error", pa.array(errors))
    found = rank([good.slice(0, 0), predictions(gz2, 10, seed=1), spoilt], gz2, source="votes.parquet")
    assert [(e.row, e.id) for e in found.errors] == [(14, "g3"), (15, "g4"), (18, "g7")]
    assert "too small" in found.errors[2].reason
    assert (found.failed, found.table.num_rows) == (3, 37)


def test_a_model_of_classes_alone_is_ordered_by_them(gz2: DecisionTree) -> None:
    probability = np.random.default_rng(0).dirichlet(np.ones(7), 50).astype(np.float32)
    classes = {f"class_{c}_probability": probability[:, c] for c in range(7)}
    block = predictions(gz2, 50, **classes)
    blank = pa.nulls(50, pa.float32())
    for name in gz2.fraction_names:
        block = block.set_column(block.column_names.index(name), name, blank)
    found = rank([block], gz2)
    assert found.table.num_rows == 50
    assert all(reason.startswith("class: ") for reason in found.table["reason"].to_pylist())


def test_nothing_left_is_said_with_its_reasons(gz2: DecisionTree) -> None:
    with pytest.raises(CatalogError, match="of 5 rows, 5 are labelled"):
        rank([predictions(gz2, 5)], gz2, RankOptions(labelled=frozenset(f"g{i}" for i in range(5))))


def test_a_label_is_any_cell_that_is_not_blank(tmp_path, gz2: DecisionTree) -> None:
    path = tmp_path / "known.csv"
    path.write_text("GalaxyID,Class1.1,Class1.2\n1,0.5,\n2,,\n3,,0.1\n")
    assert labelled_ids(path, gz2) == {"1", "3"}
    path.write_text("id\n1\n2\n")
    assert labelled_ids(path, gz2) == {"1", "2"}
    path.write_text("name\n1\n")
    with pytest.raises(CatalogError, match="no ID column"):
        labelled_ids(path, gz2)


# ------------------------------------------------------------------ the command


def test_rank_a_table(run, table, tmp_path, gz2: DecisionTree) -> None:
    (tmp_path / "known.csv").write_text("id\ng1\ng2\n")
    words = ["rank", table, "-o", tmp_path / "order.csv", "-n", 10, "--labels", tmp_path / "known.csv"]
    told = json.loads(run(*words, "--json").stdout)
    assert (told["chosen"], told["labelled"], told["rows"]) == (10, 2, 300)
    first = rows_of(tmp_path / "order.csv")
    assert [row["rank"] for row in first] == [str(i) for i in range(1, 11)]
    assert all(row["reason"] and row["path"] == f"{row['id']}.jpg" for row in first)
    assert "--overwrite" in run(*words, code=1).stderr
    said = run(*words, "--overwrite").stdout
    assert "10 galaxies to label, of 300" in said
    assert "left out: 2 with labels" in said
    assert rows_of(tmp_path / "order.csv") == first
    run(*words, "--seed", 1, "--overwrite")
    assert rows_of(tmp_path / "order.csv") != first


@pytest.mark.slow
def test_rank_pictures_as_their_predictions(run, tmp_path) -> None:
    pictures = simulate(tmp_path / "sim", 9, seed=6, workers=1) / "images_training_rev1"
    bad = min(pictures.iterdir())
    bad.write_bytes(b"no picture")
    # Simulated galaxies may look strange to the shipped model.
    told = run("rank", pictures, "-o", tmp_path / "order.csv", "--views", 1, "--out-of-domain", code=3)
    assert bad.name in told.stderr
    assert "compared by embeddings" in told.stdout
    run("predict", pictures, "-o", tmp_path / "votes.parquet", "--views", 1, "--embeddings", code=3)
    run("rank", tmp_path / "votes.parquet", "-o", tmp_path / "again.csv", "--out-of-domain", code=3)
    ids = [row["id"] for row in rows_of(tmp_path / "order.csv")]
    assert len(ids) == 8
    assert ids == [row["id"] for row in rows_of(tmp_path / "again.csv")]
    options = ("--out-of-domain", "--no-features", "--overwrite")
    told = run("rank", pictures, "-o", tmp_path / "plain.csv", "--views", 1, *options, code=3)
    assert "compared by predicted votes" in told.stdout
    run("predict", pictures, "-o", tmp_path / "plain.parquet", "--views", 1, code=3)
    for table in ("votes", "plain"):
        run("rank", tmp_path / f"{table}.parquet", "-o", tmp_path / f"{table}.csv", *options, code=3)
        assert rows_of(tmp_path / f"{table}.csv") == rows_of(tmp_path / "plain.csv")


# ------------------------------------------------------------------ by what the network sees


def seen(values: np.ndarray) -> tuple[pa.Field, pa.Array]:
    return Embedder("small", "ab" * 32, 1, values.shape[1]).field, vector_array(values.astype(np.float32))


def test_embeddings_decide_the_distances(gz2: DecisionTree) -> None:
    plain = predictions(gz2, 120)
    # Sixty kinds of two galaxies each, which look alike whatever their votes are.
    kinds = np.random.default_rng(2).normal(size=(60, 5))
    whole = plain.append_column(*seen(np.tile(kinds, (2, 1))))
    found = rank([whole], gz2, RankOptions(count=60, seed=1))
    assert found.by_features
    assert found.to_dict()["by"] == "features"
    assert "Between embeddings" in found.table.schema.field("distance").metadata[b"description"].decode()
    assert len({int(id_[1:]) % 60 for id_ in found.table["id"].to_pylist()}) == 60
    # Reasons and uncertainties stay those of the votes.
    weights = ranking.question_entropies(predictions_from_table(plain, gz2, "").votes.fractions, gz2).sum(-1)
    chosen = [int(id_[1:]) for id_ in found.table["id"].to_pylist()]
    assert found.table["uncertainty"].to_numpy() == pytest.approx(weights[chosen])
    # Without them it is the order of the votes.
    without = rank([whole], gz2, RankOptions(count=60, seed=1, features=False))
    assert not without.by_features
    assert without.table.equals(rank([plain], gz2, RankOptions(count=60, seed=1)).table)


def test_the_distances_are_those_of_scaled_components(gz2: DecisionTree) -> None:
    values = np.random.default_rng(3).normal(size=(80, 6)) * (9, 4, 2, 1, 1, 1) + 5
    found = rank([predictions(gz2, 80).append_column(*seen(values))], gz2, RankOptions(seed=1))
    rows = [int(id_[1:]) for id_ in found.table["id"].to_pylist()]
    # All six axes are kept, so that turning to them leaves distances as they were, but for one scale.
    scaled = values / np.sqrt(values.var(0).mean())
    first = np.linalg.norm(scaled[rows[1]] - scaled[rows[0]])
    assert found.table["distance"][1].as_py() == pytest.approx(first, rel=1e-3)


def test_in_which_blocks_embeddings_come_does_not_matter(gz2: DecisionTree, monkeypatch) -> None:
    from tuningfork.labelling import prediction_blocks

    monkeypatch.setattr(prediction_blocks, "_FITTED", 50)
    whole = predictions(gz2, 200).append_column(*seen(np.random.default_rng(4).normal(size=(200, 5))))
    orders = [
        rank((whole.slice(i, step) for i in range(0, 200, step)), gz2, RankOptions(count=20)).table["id"].to_pylist()
        for step in (200, 64, 7)
    ]
    assert orders[0] == orders[1] == orders[2]


def test_embeddings_that_are_broken_are_told(gz2: DecisionTree) -> None:
    plain = predictions(gz2, 30)
    values = np.random.default_rng(5).normal(size=(30, 4))
    values[12] = np.nan
    with pytest.raises(CatalogError, match=r"votes\.parquet, row 13: it has a prediction and no embedding"):
        rank([plain.append_column(*seen(values))], gz2, source="votes.parquet")
    assert rank([plain.append_column(*seen(values))], gz2, RankOptions(features=False)).table.num_rows == 30
    texts = plain.append_column("embedding", pa.array(["[1, 2]"] * 30))
    with pytest.raises(CatalogError, match="--no-features"):
        rank([texts], gz2, source="votes.csv")


def test_rank_bad_usage(run, table, tmp_path) -> None:
    run("rank", tmp_path / "nowhere.parquet", "-o", tmp_path / "o.csv", code=2)
    run("rank", table, "-o", tmp_path / "o.csv", "--views", 3, code=2)
    assert "extension" in run("rank", table, "-o", tmp_path / "o.doc", code=1).stderr
    (tmp_path / "empty").mkdir()
    assert "no image" in run("rank", tmp_path / "empty", "-o", tmp_path / "o.csv", code=1).stderr
    (tmp_path / "other.parquet").write_bytes(b"PAR1 is not enough")
    assert (
        "cannot be read as parquet" in run("rank", tmp_path / "other.parquet", "-o", tmp_path / "o.csv", code=1).stderr
    )


def test_a_table_whose_columns_names_are_no_text_is_refused(tmp_path):
    file = tmp_path / "votes.parquet"
    pq.write_table(pa.table({"id": ["a"], "zebra": [1]}), file)
    file.write_bytes(file.read_bytes().replace(b"zebra", b"z\x8ebra"))
    with pytest.raises(CatalogError, match="cannot be read as parquet"):
        list(table_blocks(file))
