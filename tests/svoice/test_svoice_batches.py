"""How training batches are read ahead, gone on with, and shared between processes."""

import threading
import time

import pytest
import torch

from svoice import data
from svoice.data import AHEAD, TrainingBatches, read_list

BATCH_SIZE = 3


@pytest.fixture
def batches(tiny):
    """A function that makes batches of segments of 0.25 s, the last of fewer examples."""
    items = read_list("data/csv/speech/train.csv", 2, 8000)

    def make(rank=0, world=1, batch_size=BATCH_SIZE):
        made = TrainingBatches(items, 2000, 4000, batch_size, 0, rank, world)
        made.segments = made.segments[:20]
        return made

    return make


@pytest.fixture
def loads(monkeypatch):
    """How many examples each reading of a batch had, so far."""
    sizes = []
    load = data.load

    def counted(segments, samples):
        sizes.append(len(segments))
        return load(segments, samples)

    monkeypatch.setattr(data, "load", counted)
    return sizes


def test_goes_on_inside_an_epoch_without_reading_what_is_done(batches, loads):
    whole = list(batches().epoch(2))
    assert len(whole) == len(batches()) == 7
    for done in (0, 3, 6, 7):
        loads.clear()
        rest = list(batches().epoch(2, done))
        assert len(loads) == len(rest) == 7 - done
        for batch, same in zip(rest, whole[done:], strict=True):
            assert all(map(torch.equal, batch, same))


def test_reads_ahead_and_not_further(batches, loads):
    epoch = batches(batch_size=1).epoch(1)
    for used in range(1, 4):
        next(epoch)
        deadline = time.monotonic() + 10
        while len(loads) < used + AHEAD and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.05)
        assert len(loads) == used + AHEAD
    epoch.close()
    assert threading.active_count() == 1


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_the_shares_are_the_batch(batches, world):
    """In the last batch of two a world of three has a process that only takes part."""
    processes = [batches(rank, world) for rank in range(world)]
    epochs = [process.epoch(1) for process in processes]
    for number, (whole, *shares) in enumerate(zip(batches().epoch(1), *epochs, strict=True)):
        weights = [process.weight(number) for process in processes]
        assert sum(weights) == pytest.approx(1, rel=1e-15)
        size = len(whole[0])
        assert size == (2 if number == 6 else BATCH_SIZE)
        for rank, (share, weight) in enumerate(zip(shares, weights, strict=True)):
            real = [tensor[rank::world] for tensor in whole]
            assert weight == len(real[0]) / size
            # Without an example of its own a process has one to compute with.
            expected = real if weight else [tensor[:1] for tensor in whole]
            assert all(map(torch.equal, share, expected))


def test_an_error_in_reading_reaches_the_training(batches, monkeypatch):
    def fail(segments, samples):
        raise data.InputError("a.wav", 1, 2)

    monkeypatch.setattr(data, "load", fail)
    with pytest.raises(data.InputError, match=r"a\.wav: found 1"):
        list(batches().epoch(1))
