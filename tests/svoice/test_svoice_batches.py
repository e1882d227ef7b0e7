"""How training batches are read ahead, resumed, and shared between processes."""

import threading
import time

import pytest
import torch

from svoice import data
from svoice.data import AHEAD, TrainingBatches, read_list

BATCH_SIZE = 3


@pytest.fixture
def batches(tiny):
    """A function that makes batches of segments of 0.25 s, of which the last one is smaller."""
    items = read_list("data/csv/speech/train.csv", 2, 8000)

    def make(rank=0, world_size=1, batch_size=BATCH_SIZE):
        training_batches = TrainingBatches(items, 2000, 4000, batch_size, 0, rank, world_size)
        training_batches.segments = training_batches.segments[:20]
        return training_batches

    return make


@pytest.fixture
def loads(monkeypatch):
    """The number of examples of each batch that was read so far."""
    sizes = []
    load = data.load

    def counted(segments, samples):
        sizes.append(len(segments))
        return load(segments, samples)

    monkeypatch.setattr(data, "load", counted)
    return sizes


def test_an_epoch_resumes_without_reading_finished_batches(batches, loads):
    all_batches = list(batches().epoch(2))
    assert len(all_batches) == len(batches()) == 7
    for done in (0, 3, 6, 7):
        loads.clear()
        rest = list(batches().epoch(2, done))
        assert len(loads) == len(rest) == 7 - done
        for batch, same in zip(rest, all_batches[done:], strict=True):
            assert all(map(torch.equal, batch, same))


def test_reads_as_many_batches_ahead_as_it_says(batches, loads):
    threads = set(threading.enumerate())
    epoch = batches(batch_size=1).epoch(1)
    for used in range(1, 4):
        next(epoch)
        deadline = time.monotonic() + 300
        while len(loads) < used + AHEAD:
            assert time.monotonic() < deadline, loads
            time.sleep(0.001)
        time.sleep(0.05)  # in which it would read more, if it did
        assert len(loads) == used + AHEAD
    epoch.close()
    assert set(threading.enumerate()) <= threads


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_the_shares_of_the_processes_make_up_the_batch(batches, world_size):
    """The last batch has two examples: the third of three processes has none of its own."""
    processes = [batches(rank, world_size) for rank in range(world_size)]
    epochs = [process.epoch(1) for process in processes]
    for number, (batch, *shares) in enumerate(zip(batches().epoch(1), *epochs, strict=True)):
        weights = [process.weight(number) for process in processes]
        assert sum(weights) == pytest.approx(1, rel=1e-15)
        size = len(batch[0])
        assert size == (2 if number == 6 else BATCH_SIZE)
        for rank, (share, weight) in enumerate(zip(shares, weights, strict=True)):
            own = [tensor[rank::world_size] for tensor in batch]
            assert weight == len(own[0]) / size
            # A process without an example of its own gets the first one to compute with.
            expected = own if weight else [tensor[:1] for tensor in batch]
            assert all(map(torch.equal, share, expected))


def test_an_error_in_reading_reaches_the_training(batches, monkeypatch):
    def fail(segments, samples):
        raise data.InputError("a.wav", "is gone")

    monkeypatch.setattr(data, "load", fail)
    with pytest.raises(data.InputError, match=r"a\.wav: is gone"):
        list(batches().epoch(1))
