"""The loss against its definition, and in the cases that its formula leaves open."""

import itertools

import pytest
import torch

from svoice.loss import best_permutation, pairwise_si_snr, separation_loss, si_snr


def example(C, R=3, batch=4, samples=200, seed=0):
    """Outputs that resemble permuted references, of examples of different lengths."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    references = noise(batch, C, samples) + 0.3
    lengths = torch.tensor([samples - 30 * n for n in range(batch)])
    mixing = torch.stack([torch.randperm(C, generator=generator) for _ in range(batch)])
    permuted = references.gather(1, mixing.unsqueeze(-1).expand_as(references))
    outputs = permuted + noise(R, batch, C, samples)
    for number, length in enumerate(lengths):
        references[number, :, length:] = 0
    return outputs, references, lengths


def test_single_precision_agrees_with_double():
    outputs, references, lengths = example(2, samples=8000)
    expected = separation_loss(outputs, references, lengths).item()
    loss = separation_loss(outputs.float(), references.float(), lengths)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected, abs=1e-4)


def test_one_output_has_weight_one():
    outputs, references, lengths = example(2, R=1)
    expected = -si_snr(outputs[0], references, lengths).mean()
    assert torch.equal(separation_loss(outputs, references, lengths), expected)


def test_padding_does_not_count():
    outputs, references, lengths = example(2)
    expected = separation_loss(outputs, references, lengths)
    for number, length in enumerate(lengths):
        outputs[:, number, :, length:] = 1e3
        references[number, :, length:] = -7
    assert torch.equal(separation_loss(outputs, references, lengths), expected)
    outputs.requires_grad_()
    separation_loss(outputs, references, lengths).backward()
    for number, length in enumerate(lengths):
        assert not outputs.grad[:, number, :, length:].any()
        assert outputs.grad[:, number, :, :length].all()


def test_silence_gives_a_finite_loss_and_gradient():
    outputs, references, lengths = example(2)
    references[:, 0] = 0
    outputs[0] = 0
    outputs.requires_grad_()
    loss = separation_loss(outputs, references, lengths)
    loss.backward()
    assert loss.isfinite()
    assert outputs.grad.isfinite().all()


@pytest.mark.parametrize("C", [2, 4])
def test_the_loss_of_nan_is_nan(C):
    outputs, references, lengths = example(C)
    outputs[-1, 0, 0, 0] = torch.nan
    assert separation_loss(outputs, references, lengths).isnan()


@pytest.mark.parametrize("C", [2, 3, 4, 5])
def test_the_best_permutation_is_the_best_of_all(C):
    for seed in range(20):
        outputs, references, lengths = example(C, R=1, batch=3, seed=seed)
        scores = pairwise_si_snr(outputs[0], references, lengths)
        for permutation, pairs in zip(best_permutation(scores), scores, strict=True):
            assert permutation.sort().values.tolist() == list(range(C))
            sums = [
                sum(pairs[estimate, reference] for estimate, reference in enumerate(order)).item()
                for order in itertools.permutations(range(C))
            ]
            assert pairs[torch.arange(C), permutation].sum().item() == pytest.approx(
                max(sums), abs=1e-9
            )


def test_the_loss_of_ten_speakers_is_that_of_the_planted_permutation():
    generator = torch.Generator().manual_seed(0)

    def noise(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    references = noise(3, 10, 2000)
    lengths = torch.tensor([2000, 1500, 700])
    planted = torch.stack([torch.randperm(10, generator=generator) for _ in range(3)])
    shuffled = references.gather(1, planted.unsqueeze(-1).expand_as(references))
    outputs = (shuffled + 0.3 * noise(*shuffled.shape)).requires_grad_()
    assert torch.equal(best_permutation(pairwise_si_snr(outputs, references, lengths)), planted)
    loss = separation_loss(outputs.unsqueeze(0), references, lengths)
    pairs = pairwise_si_snr(outputs, references, lengths)
    expected = -pairs.gather(2, planted.unsqueeze(-1)).mean()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-9)
    (gradient,) = torch.autograd.grad(loss, outputs)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, outputs)[0])
