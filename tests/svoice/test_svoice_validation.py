"""Validation of several utterances at a time, as on a GPU, against one at a time."""

import numpy as np
import pytest
import torch

from svoice import fast
from svoice.data import read_list
from svoice.network import SVoice
from svoice.params import Params
from svoice.training import make_network
from svoice.validation import groups_of, validate

LENGTHS = np.random.default_rng(0).integers(5, 3000, 200).tolist()


@pytest.mark.parametrize("group_norm", [False, True])
def test_each_utterance_of_a_group_is_separated_as_alone(group_norm):
    torch.manual_seed(0)
    network = SVoice(32, 8, 16, 2, 2, 8000, 1.0, group_norm).eval()
    compared = 0
    for group in groups_of(network, LENGTHS, most=4):
        lengths = torch.tensor([LENGTHS[place] for place in group])
        mixtures = torch.randn(len(group), int(lengths.max()))
        mixtures *= torch.arange(mixtures.shape[1]) < lengths[:, None]
        with torch.inference_mode():
            together = fast.forward(network, mixtures, lengths)
            for row, length in enumerate(lengths.tolist()):
                alone = network(mixtures[row : row + 1, :length])
                error = (together[:, row : row + 1, :, :length] - alone).abs().max()
                assert error < 1e-5 * alone.abs().max()
                compared += len(group) > 1
    assert compared > 100


def test_every_utterance_is_in_one_group():
    network = SVoice(32, 8, 16, 1, 2, 8000, 1.0)
    groups = groups_of(network, LENGTHS, most=3)
    assert sorted(place for group in groups for place in group) == list(range(len(LENGTHS)))
    assert max(map(len, groups)) == 3


def test_the_loss_is_that_of_one_utterance_at_a_time(tiny):
    items = read_list("data/csv/speech/train.csv", 2, 8000)
    network = make_network(Params.of(tiny.params))
    alone, together = (validate(network, items, "fp32", at_a_time=n) for n in (1, 8))
    assert together == pytest.approx(alone, rel=1e-5)
