"""The fast network against the plain one, from the same weights on the same mixtures."""

import pytest
import torch

from svoice.network import SVoice


def outputs_and_gradients(network, mixtures):
    outputs = network(mixtures)
    loss = sum((number + 1) * output.square().sum() for number, output in enumerate(outputs))
    return outputs, torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)


@pytest.mark.parametrize("group_norm", [False, True])
@pytest.mark.parametrize("samples", [5, 1000, 2003])
@pytest.mark.parametrize("training", [True, False])
def test_the_fast_network_computes_what_the_plain_one_does(group_norm, samples, training):
    torch.manual_seed(0)
    networks = [
        SVoice(32, 8, 8, 2, 3, 8000, 0.25, group_norm, plain=plain).double().train(training)
        for plain in (False, True)
    ]
    networks[1].load_state_dict(networks[0].state_dict())
    assert networks[0].configuration == networks[1].configuration
    mixtures = torch.randn(2, samples, dtype=torch.float64)
    (fast, fast_gradients), (plain, plain_gradients) = (
        outputs_and_gradients(network, mixtures) for network in networks
    )
    assert fast.shape == plain.shape == (2 if training else 1, 2, 3, samples)
    torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(fast_gradients, plain_gradients, rtol=1e-7, atol=1e-10)
