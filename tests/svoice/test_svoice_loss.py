import pytest
import torch

from svoice.loss import separation_loss, si_snr


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
def test_nan_stays(C):
    outputs, references, lengths = example(C)
    outputs[-1, 0, 0, 0] = torch.nan
    assert separation_loss(outputs, references, lengths).isnan()
