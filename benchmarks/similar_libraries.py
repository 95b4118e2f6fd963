"""What finds neighbours best: FAISS exact and approximate, hnswlib, LanceDB, on embeddings of real galaxies.

    python benchmarks/similar_libraries.py votes.parquet --galaxies 10000 100000

`votes.parquet` has embeddings (`tuningfork predict --embeddings`). First, what so many axes of `similar` lose; then the
libraries, on mixtures of two galaxies of the table and some noise, on these axes. Recall is of the 10 nearest that
NumPy finds in 32 bits. One thread. hnswlib and lancedb are no dependencies of ours: `pip install hnswlib lancedb`, or
their lines are left out.
"""

import argparse
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa

from tuningfork.model.embeddings import COLUMN
from tuningfork.similarity.pca import PrincipalAxes, fit_axes
from tuningfork.tables import read_table
from tuningfork.tables.arrow import vector_array, vectors

NEAREST, QUERIES = 10, 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions")
    parser.add_argument("--galaxies", type=int, nargs="+", default=[10_000, 100_000])
    args = parser.parse_args()
    faiss.omp_set_num_threads(1)
    table = read_table(args.predictions)
    embeddings = vectors(table.filter(table[COLUMN].is_valid())[COLUMN])
    compare_axes(embeddings)
    own = fit_axes(embeddings).vectors(embeddings)
    rng = np.random.default_rng(0)
    for count in args.galaxies:
        known, asked = mixed(own, count, rng), mixed(own, QUERIES, rng)
        nearest = np.argsort(-(asked @ known.T), 1)[:, :NEAREST]
        for name, prepare in LIBRARIES.items():
            with tempfile.TemporaryDirectory() as folder:
                measure(name, prepare, known, asked, nearest, Path(folder))


def compare_axes(embeddings):
    """Print how many of the nearest by all numbers of an embedding the principal axes find."""
    asked = slice(0, None, 8)

    def nearest(vectors):
        cosine = vectors[asked] @ vectors.T
        return np.argsort(-cosine, 1)[:, 1 : NEAREST + 1].tolist()

    whole = fit_axes(embeddings, embeddings.shape[1])
    every = nearest(whole.vectors(embeddings))
    for components in (64, 128, 256):
        found = nearest(PrincipalAxes(whole.mean, whole.axes[:components]).vectors(embeddings))
        recall = np.mean([len({*a} & {*b}) / NEAREST for a, b in zip(found, every, strict=True)])
        print(f"{components} of {embeddings.shape[1]} axes: recall {recall:.3f} among {len(embeddings)}")


def mixed(own, count, rng):
    """Unit vectors (count, K) between two real ones each."""
    first, second = rng.integers(0, len(own), (2, count))
    weight = rng.random((count, 1), np.float32)
    out = weight * own[first] + (1 - weight) * own[second]
    out += rng.normal(0, 0.1, out.shape).astype(np.float32) * own.std(0)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def measure(name, prepare, known, asked, nearest, folder):
    """Print what one library takes and finds."""
    began = time.perf_counter()
    try:
        search = prepare(known, folder)
    except ImportError as error:
        print(f"{len(known):>8} {name:24} is not installed ({error.name})")
        return
    built = time.perf_counter() - began
    began = time.perf_counter()
    found = np.concatenate([search(each[None]) for each in asked])
    each = (time.perf_counter() - began) / len(asked)
    recall = np.mean([len({*a} & {*b}) / NEAREST for a, b in zip(found.tolist(), nearest.tolist(), strict=True)])
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / len(known)
    print(
        f"{len(known):>8} {name:24} built in {built:6.2f} s, {size:4.0f} bytes a galaxy, recall {recall:.3f}, "
        f"{1000 * each:6.2f} ms a query"
    )


def exact(known, folder):
    """As `similar` does: 16 bits, a plain file, all compared."""
    known.astype(np.float16).tofile(folder / "vectors")
    index = faiss.IndexScalarQuantizer(known.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.add(known)
    return lambda asked: index.search(asked, NEAREST)[1]


def faiss_hnsw(known, folder):
    """A graph of neighbours."""
    index = faiss.IndexHNSWFlat(known.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = 80, 64
    index.add(known)
    faiss.write_index(index, str(folder / "index"))
    return lambda asked: index.search(asked, NEAREST)[1]


def faiss_ivf(known, folder):
    """Cells around centres."""
    cells = int(2 * len(known) ** 0.5)
    centres = faiss.IndexFlatIP(known.shape[1])
    index = faiss.IndexIVFFlat(centres, known.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
    index.train(known[: 50 * cells])
    index.add(known)
    index.nprobe = 16
    faiss.write_index(index, str(folder / "index"))
    return lambda asked, _=centres: index.search(asked, NEAREST)[1]


def hnswlib(known, folder):
    """The same graph by its authors."""
    import hnswlib

    index = hnswlib.Index("ip", known.shape[1])
    index.init_index(len(known), ef_construction=80, M=32)
    index.set_num_threads(1)
    index.add_items(known)
    index.set_ef(64)
    index.save_index(str(folder / "index"))
    return lambda asked: index.knn_query(asked, NEAREST)[0]


def lancedb(known, folder):
    """A database of vectors: cells, products of codes, refined by the vectors themselves."""
    import lancedb

    rows = pa.table({"row": np.arange(len(known)), "vector": vector_array(known)})
    table = lancedb.connect(str(folder)).create_table("galaxies", rows)
    cells = int(len(known) ** 0.5)
    table.create_index("vector", config=lancedb.index.IvfPq("cosine", num_partitions=cells, num_sub_vectors=32))

    def search(asked):
        query = table.search(asked[0]).metric("cosine").nprobes(20).refine_factor(5).limit(NEAREST)
        return query.select(["row", "_distance"]).to_arrow()["row"].to_numpy()[None]

    return search


LIBRARIES = {
    "FAISS, exact, 16 bits": exact,
    "FAISS, HNSW": faiss_hnsw,
    "FAISS, IVF": faiss_ivf,
    "hnswlib": hnswlib,
    "LanceDB, IVF_PQ": lancedb,
}

if __name__ == "__main__":
    main()
