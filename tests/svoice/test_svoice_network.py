"""The network against the equations of the paper (arXiv 2003.01531)."""

import pytest
import torch
import torch.nn.functional as F

from svoice import fast
from svoice.chunks import chunk, merge
from svoice.network import SVoice


def make(N=32, L=8, H=4, R=2, C=2, sample_rate=8000, segment_seconds=0.05, group_norm=False):
    torch.manual_seed(0)
    return SVoice(N, L, H, R, C, sample_rate, segment_seconds, group_norm)


def test_the_published_network_has_7_5_million_parameters():
    network = make(N=128, L=8, H=128, R=6, C=2, sample_rate=8000, segment_seconds=4.0)
    assert sum(parameter.numel() for parameter in network.parameters()) == 7_558_913
    assert network.K == 126


def test_chunks_overlap_by_half_in_order_of_time():
    chunks = chunk(torch.arange(1.0, 11.0).view(1, 1, -1), 4)[0, 0].T
    assert chunks.tolist() == [
        [0, 0, 1, 2],
        [1, 2, 3, 4],
        [3, 4, 5, 6],
        [5, 6, 7, 8],
        [7, 8, 9, 10],
        [9, 10, 0, 0],
    ]


@pytest.mark.parametrize("N", [32, 40, 128])
@pytest.mark.parametrize("plain", [True, False])
def test_decoding_is_that_of_the_paper(N, plain):
    """Convolve the chunks to C·N features, merge them, average groups of L, overlap and add."""
    network = make(N=N, C=3)
    length, L = 50, 8
    x = torch.randn(network.K, chunk(torch.ones(1, 1, length), network.K).shape[-1], 2, N)
    features = network.separation(network.activation(x).permute(2, 3, 0, 1).flatten(2))
    features = features.view(2, 3 * N, *x.shape[:2])
    frames = merge(features, length).view(2, 3, N // L, L, length).mean(3)
    expected = torch.zeros(2, 3, (length - 1) * 4 + N // L)
    for frame in range(length):
        expected[..., frame * 4 : frame * 4 + N // L] += frames[..., frame]
    samples = (length - 1) * 4 + 8
    expected = F.pad(expected, (0, samples - expected.shape[-1]))
    if plain:
        decoded = network.decode(x.permute(2, 3, 0, 1), length, samples)
    else:
        decoded = fast.decode(network, x, length, samples)
    torch.testing.assert_close(decoded, expected)


@pytest.mark.parametrize("plain", [True, False])
def test_a_double_block_is_that_of_the_paper(plain):
    """Residual MulCat blocks along each chunk, then along each position of the chunks."""
    block = make().blocks[0]
    x = torch.randn(5, 6, 2, 32)

    def mulcat(block, sequence):
        first, second = (
            projection(lstm(sequence.unsqueeze(1))[0].squeeze(1))
            for lstm, projection in zip(block.lstms, block.projections, strict=True)
        )
        return block.output(torch.cat((first * second, sequence), -1))

    expected = x.clone()
    for number in range(6):
        for example in range(2):
            expected[:, number, example] += mulcat(block.within, x[:, number, example])
    within = expected.clone()
    for position in range(5):
        for example in range(2):
            expected[position, :, example] += mulcat(block.across, within[position, :, example])
    if plain:
        computed = block(x.permute(2, 3, 0, 1)).permute(2, 3, 0, 1)
    else:
        computed = fast.double_block(block, x)
    torch.testing.assert_close(computed, expected)


def test_group_norm_normalises_each_example():
    plain, normed = make(), make(group_norm=True)
    count = sum(parameter.numel() for parameter in plain.parameters())
    assert sum(parameter.numel() for parameter in normed.parameters()) == count + 2 * 2 * 2 * 32
    x = torch.randn(5, 6, 2, 32)
    block = normed.blocks[0]
    y = block.within(x.flatten(1, 2)).view(x.shape)
    mean = y.mean((0, 1, 3), keepdim=True)
    deviation = y.var((0, 1, 3), keepdim=True, unbiased=False).sqrt()
    after = []
    block.across.register_forward_pre_hook(lambda module, inputs: after.append(inputs[0]))
    block(x.permute(2, 3, 0, 1))
    expected = (x + (y - mean) / deviation).permute(1, 2, 0, 3).flatten(1, 2)
    torch.testing.assert_close(after[0], expected, rtol=1e-4, atol=1e-4)


def test_weights_are_xavier_normal():
    network = make(N=128, H=64, R=1)
    for name, parameter in network.named_parameters():
        if parameter.dim() > 1:
            fan_out, fan_in = parameter.shape[:2]
            window = parameter[0][0].numel()
            deviation = (2 / (window * (fan_in + fan_out))) ** 0.5
            assert parameter.std().item() == pytest.approx(deviation, rel=0.15), name
