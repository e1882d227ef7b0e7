import itertools

import numpy as np
import pytest
import torch

from svoice.loss import best_permutation, separation_loss, si_snr

TOLERANCE = 1e-4  # dB: of the guard against silence, in signals this short and quiet


def reference_si_snr(estimate, reference):
    """Le Roux et al. 2019, in NumPy."""
    estimate = estimate - estimate.mean()
    reference = reference - reference.mean()
    target = estimate @ reference / (reference @ reference) * reference
    return 10 * np.log10((target**2).sum() / ((estimate - target) ** 2).sum())


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


def example(C, R=3, batch=4, samples=200, seed=0):
    """Outputs that resemble permuted references, each example with its own real length."""
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


@pytest.mark.parametrize("C", [1, 2, 3, 4, 5])
def test_against_the_formula(C):
    outputs, references, lengths = example(C)
    loss = separation_loss(outputs, references, lengths)
    expected = reference_loss(outputs.numpy(), references.numpy(), lengths.numpy())
    assert loss.item() == pytest.approx(expected, abs=TOLERANCE)


def test_single_precision_agrees():
    outputs, references, lengths = example(2, samples=8000)
    expected = separation_loss(outputs, references, lengths).item()
    loss = separation_loss(outputs.float(), references.float(), lengths)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected, abs=1e-4)


def test_one_output_has_weight_one():
    outputs, references, lengths = example(2, R=1)
    expected = -si_snr(outputs[0], references, lengths).mean()
    assert torch.equal(separation_loss(outputs, references, lengths), expected)


@pytest.mark.parametrize("C", [2, 3, 5])
def test_is_invariant_to_permutation_scale_and_offset(C):
    outputs, references, lengths = example(C)
    expected = separation_loss(outputs, references, lengths)
    order = torch.randperm(C, generator=torch.Generator().manual_seed(1))
    for changed in (
        (outputs[:, :, order], references),
        (outputs, references[:, order]),
        (outputs * 1e-2, references),
        (outputs, references * -1e2),
        (outputs + 5, references),
        (outputs, references + 5),
    ):
        torch.testing.assert_close(
            separation_loss(*changed, lengths), expected, rtol=0, atol=TOLERANCE
        )


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


@pytest.mark.parametrize("C", [2, 3, 4])
def test_gradient(C):
    outputs, references, lengths = example(C, R=2, batch=2, samples=40)
    assert torch.autograd.gradcheck(
        lambda outputs: separation_loss(outputs, references, lengths), outputs.requires_grad_()
    )


@pytest.mark.parametrize("C", [2, 3, 4, 6])
def test_the_permutation_is_the_best(C):
    scores = torch.randn(20, C, C, generator=torch.Generator().manual_seed(0))
    chosen = scores.gather(2, best_permutation(scores).unsqueeze(-1)).sum((1, 2))
    for number, score in enumerate(scores.numpy()):
        best = max(
            sum(score[i, j] for i, j in enumerate(permutation))
            for permutation in itertools.permutations(range(C))
        )
        assert chosen[number].item() == pytest.approx(best, rel=1e-5)


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
def test_nan_stays(C):
    outputs, references, lengths = example(C)
    outputs[-1, 0, 0, 0] = torch.nan
    assert separation_loss(outputs, references, lengths).isnan()
