"""`TimedLoader` counts the wait of whoever asks for a batch."""

import time

import pytest

pytest.importorskip("torch")
from tuningfork.training.dataset import TimedLoader


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_counts_the_wait_of_whoever_asks(workers):

    class Slow:
        def __len__(self):
            return 6

        def __getitem__(self, row):
            time.sleep(0.02)
            return float(row)

    loader = TimedLoader(Slow(), batch_size=2, num_workers=workers)
    assert loader.wait_seconds == 0
    started = time.perf_counter()
    assert [batch.tolist() for batch in loader] == [[0, 1], [2, 3], [4, 5]]
    assert 6 * 0.02 <= loader.wait_seconds <= time.perf_counter() - started
    before = loader.wait_seconds
    for _ in loader:
        break
    assert loader.wait_seconds > before


def test_a_loader_that_is_ahead_is_not_waited_for():

    loader = TimedLoader(range(8), batch_size=2, num_workers=1)
    batches = iter(loader)
    next(batches)
    time.sleep(0.5)
    started, wait_seconds = time.perf_counter(), loader.wait_seconds
    for _ in range(2):  # the two that a worker prepares ahead
        next(batches)
        time.sleep(0.1)
    assert loader.wait_seconds - wait_seconds < 0.5 * (time.perf_counter() - started)
