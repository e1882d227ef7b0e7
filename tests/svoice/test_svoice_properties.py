"""Properties of the loss, the network and the training segments, for arbitrary sizes."""

import itertools

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from svoice.chunks import chunk, merge
from svoice.data import Item, TrainingBatches, segments_of
from svoice.loss import best_permutation, separation_loss
from svoice.network import SVoice

seeds = st.integers(0, 2**32 - 1)


def reference_si_snr(estimate, reference, guard=1e-8):
    """Le Roux et al. 2019, in NumPy, with the guard against silence added to every energy."""
    estimate = estimate - estimate.mean()
    reference = reference - reference.mean()
    target = estimate @ reference / (reference @ reference + guard) * reference
    noise = estimate - target
    return 10 * np.log10(((target**2).sum() + guard) / ((noise**2).sum() + guard))


def reference_loss(outputs, references, lengths):
    total = 0.0
    for r, output in enumerate(outputs, 1):
        best = []
        for estimates, sources, length in zip(output, references, lengths, strict=True):
            best.append(
                max(
                    np.mean(
                        [
                            reference_si_snr(estimates[i, :length], sources[j, :length])
                            for i, j in enumerate(permutation)
                        ]
                    )
                    for permutation in itertools.permutations(range(len(sources)))
                )
            )
        total += r / len(outputs) * -np.mean(best)
    return total / len(outputs)


@st.composite
def examples(draw, max_batch=4, max_samples=400):
    """Outputs that resemble permuted references, of examples of different lengths."""
    C, R = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    samples = st.integers(10, max_samples)
    lengths = torch.tensor(draw(st.lists(samples, min_size=1, max_size=max_batch)))
    batch, longest = len(lengths), int(lengths.max())
    generator = torch.Generator().manual_seed(draw(seeds))

    def noise(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    references = noise(batch, C, longest)
    mixing = torch.stack([torch.randperm(C, generator=generator) for _ in range(batch)])
    permuted = references.gather(1, mixing.unsqueeze(-1).expand_as(references))
    outputs = permuted + noise(R, batch, C, longest)
    mask = torch.arange(longest) < lengths[:, None, None]
    return outputs, references * mask, lengths


def assert_same(loss, expected):
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-8)


@given(examples())
def test_the_loss_is_that_of_its_formula(example):
    loss = separation_loss(*example)
    assert_same(loss, torch.tensor(reference_loss(*(tensor.numpy() for tensor in example))))


@given(examples(), st.data())
def test_the_loss_does_not_depend_on_order_level_sign_and_offset(example, data):
    # The guard against silence depends on the level; it has no influence on signals this loud.
    loud = 1e4
    outputs, references, lengths = example[0] * loud, example[1] * loud, example[2]
    expected = separation_loss(outputs, references, lengths)
    C = references.shape[1]
    order, other = (data.draw(st.permutations(range(C))) for _ in range(2))
    assert_same(separation_loss(outputs[:, :, order], references[:, other], lengths), expected)
    generator = torch.Generator().manual_seed(data.draw(seeds))

    def changed(signals):
        shape = (*signals.shape[:-1], 1)
        levels = 10 ** (2 * torch.rand(shape, generator=generator, dtype=torch.float64))
        signs = torch.randint(0, 2, shape, generator=generator) * 2 - 1
        offsets = loud * torch.randn(shape, generator=generator, dtype=torch.float64)
        return signals * levels * signs + offsets

    assert_same(separation_loss(changed(outputs), changed(references), lengths), expected)


@given(examples(max_batch=2, max_samples=20))
@settings(max_examples=20)
def test_the_gradient_is_that_of_the_loss(example):
    outputs, references, lengths = example
    assert torch.autograd.gradcheck(
        lambda outputs: separation_loss(outputs, references, lengths), outputs.requires_grad_()
    )


@given(st.integers(1, 6), st.data())
def test_the_permutation_is_the_best(C, data):
    # Whole numbers, so that there are ties.
    numbers = st.lists(st.integers(-9, 9), min_size=C * C, max_size=C * C)
    scores = torch.tensor(data.draw(st.lists(numbers, min_size=1, max_size=4)))
    scores = scores.view(-1, C, C).double()
    columns = best_permutation(scores)
    assert torch.equal(columns.sort().values, torch.arange(C).expand(len(scores), C))
    for score, chosen in zip(scores.numpy(), columns.numpy(), strict=True):
        rows = range(C)
        best = max(score[rows, order].sum() for order in itertools.permutations(rows))
        assert score[rows, chosen].sum() == best


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 300), st.integers(1, 80), seeds)
def test_chunking(batch, N, length, K, seed):
    frames = torch.randn(batch, N, length, generator=torch.Generator().manual_seed(seed))
    chunks = chunk(frames, K)
    assert chunks.shape[:3] == (batch, N, K)
    assert torch.equal(merge(chunks, length), frames)
    # The frames are numbered from 1, because zeros fill the ends.
    numbers = chunk(torch.arange(1.0, length + 1).view(1, 1, -1), K)[0, 0].long().T
    chunks_of = [set() for _ in range(length + 1)]
    for number, row in enumerate(numbers.tolist()):
        frames_inside = [frame for frame in row if frame]
        if frames_inside:
            first = frames_inside[0]
            assert frames_inside == list(range(first, first + len(frames_inside)))
        for frame in frames_inside:
            chunks_of[frame].add(number)
    assert {len(numbers) for numbers in chunks_of[1:]} == {2}


@st.composite
def networks(draw):
    L = 2 * draw(st.integers(1, 6))
    torch.manual_seed(draw(seeds))
    return SVoice(
        N=L * draw(st.integers(L // 2, L // 2 + 4)),
        L=L,
        H=draw(st.integers(1, 5)),
        R=draw(st.integers(1, 3)),
        C=draw(st.integers(2, 5)),
        sample_rate=1000,
        segment_seconds=draw(st.floats(0.02, 2)),
        group_norm=draw(st.booleans()),
    ).double()


@given(networks(), st.integers(1, 3), st.integers(1, 500))
@torch.no_grad()
def test_the_network(network, batch, samples):
    mixture = torch.randn(batch, samples, dtype=torch.float64)
    outputs = network(mixture)
    assert outputs.shape == (len(network.blocks), batch, network.C, samples)
    torch.testing.assert_close(network.eval()(mixture)[0], outputs[-1])
    for number, alone in enumerate(mixture):
        for mode, together in ((True, outputs), (False, outputs[-1:])):
            actual = network.train(mode)(alone.unsqueeze(0))[:, 0]
            torch.testing.assert_close(actual, together[:, number])


items = st.builds(Item, st.just("mix"), st.just(("s1", "s2")), st.integers(1, 500))


@given(items, st.integers(1, 100), st.integers(1, 100))
def test_segments(item, length, stride):
    segments = segments_of(item, length, stride)
    assert [segment.start for segment in segments] == list(range(0, len(segments) * stride, stride))
    for segment in segments:
        assert 0 < segment.length == min(length, item.length - segment.start)
    ends = [segment.start + segment.length for segment in segments]
    if stride <= length:
        # They cover the item, for which the last one is needed.
        assert ends[-1] == item.length
        assert all(end < item.length for end in ends[:-1])
    else:
        assert segments[-1].start + stride >= item.length


@given(st.lists(items, min_size=1, max_size=5), st.integers(1, 50), st.integers(1, 8), seeds, seeds)
def test_an_epochs_order(items, length, batch_size, seed, epoch):
    first, again = (TrainingBatches(items, length, length, batch_size, seed) for _ in range(2))
    count = sum(-(-item.length // length) for item in items)
    order = first.order(epoch)
    assert sorted(order) == list(range(count))
    assert len(first) == -(-count // batch_size)
    again.order(epoch + 1)
    np.testing.assert_array_equal(again.order(epoch), order)
