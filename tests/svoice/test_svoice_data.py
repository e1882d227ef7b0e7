"""The lists, the segments and the training batches."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from svoice.data import Item, TrainingBatches, read_list, segments_of

STUDY_LENGTHS = (
    39840,
    59480,
    58080,
    88640,
    36120,
    25040,
    52720,
    27960,
)  # of the eight mixtures in the study, in samples


def item(length):
    return Item("mix", ("s1", "s2"), length)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (1, [(0, 1)]),
        (40, [(0, 40)]),
        (41, [(0, 40), (10, 31)]),
        (50, [(0, 40), (10, 40)]),
        (51, [(0, 40), (10, 40), (20, 31)]),
    ],
)
def test_segments(length, expected):
    segments = segments_of(item(length), 40, 10)
    assert [(segment.start, segment.length) for segment in segments] == expected


def test_the_mixtures_of_the_study_have_29_segments():
    items = [item(length) for length in STUDY_LENGTHS]
    batches = TrainingBatches(items, 32000, 8000, 4, 0)
    assert len(batches.segments) == 29
    assert len(batches) == 8


def read_batches(seed=0):
    """Returns batches of a size that leaves a smaller last batch."""
    items = read_list("data/csv/speech/train.csv", 2, 8000)
    count = sum(len(segments_of(item, 12000, 4000)) for item in items)
    size = next(size for size in range(3, count) if count % size)
    return TrainingBatches(items, 12000, 4000, size, seed)


def test_an_epoch_has_every_segment_once(tiny):
    batches = read_batches()
    seen, sizes = [], []
    for mixtures, sources, lengths in batches.epoch(1):
        sizes.append(len(lengths))
        assert mixtures.shape == (len(lengths), 12000)
        assert sources.shape == (len(lengths), 2, 12000)
        for number in range(len(lengths)):
            segment = batches.segments[batches.order(1)[len(seen)]]
            assert lengths[number] == segment.length
            tracks = (mixtures[number], *sources[number])
            paths = (segment.item.mixture, *segment.item.sources)
            for track, path in zip(tracks, paths, strict=True):
                samples, _ = soundfile.read(path, dtype="float32")
                cut = samples[segment.start : segment.start + segment.length]
                np.testing.assert_array_equal(track[: segment.length], cut)
                assert not track[segment.length :].any()
            seen.append(segment)
    assert sorted(map(repr, seen)) == sorted(map(repr, batches.segments))
    assert any(segment.length < 12000 for segment in seen)
    assert len(sizes) == len(batches)
    assert set(sizes[:-1]) == {batches.batch_size}
    assert 0 < sizes[-1] < batches.batch_size


def test_the_order_depends_on_the_seed_and_the_epoch_alone(tiny):
    first, again, other = read_batches(), read_batches(), read_batches(seed=1)
    list(first.epoch(1))
    np.testing.assert_array_equal(first.order(2), again.order(2))
    assert (first.order(2) != first.order(1)).any()
    assert (first.order(2) != other.order(2)).any()
    for batch, same in zip(first.epoch(2), again.epoch(2), strict=True):
        assert all(map(torch.equal, batch, same))


def test_lists_are_read_in_order(tiny):
    items = read_list("data/csv/speech/test.csv", 2, 8000)
    rows = Path("data/csv/speech/test.csv").read_text().splitlines()[1:]
    assert [
        ",".join((item.mixture, *item.sources, str(item.length), "8000")) for item in items
    ] == rows
