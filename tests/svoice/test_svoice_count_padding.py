"""`count_padding`: the training loss of the study, against a plain one on real speech."""

import copy
import csv
import itertools
import math
from pathlib import Path

import pytest
import soundfile
import torch

from svoice import training
from svoice.data import TrainingBatches, load, read_list
from svoice.params import Params
from svoice.stepper import Stepper

SEGMENT, STRIDE = 2000, 1000  # samples
RATE = 1e-3  # small, so that rounding errors do not grow from step to step
MOMENTUM = {"name": "momentum", "svoice": {"lr": RATE, "momentum": 0.9}}


@pytest.fixture
def overlapping(tiny, set_params):
    """The tiny workspace with overlapping segments, as in the study."""
    svoice = {**tiny.params["svoice"], "stride_seconds": STRIDE / 8000}
    assert svoice["segment_seconds"] == SEGMENT / 8000
    set_params(tiny, svoice=svoice)
    return tiny


def si_snr(estimate, reference):
    """In dB, over all samples including the padding."""
    estimate = estimate - estimate.mean()
    reference = reference - reference.mean()
    target = (estimate @ reference) / (reference @ reference + 1e-8) * reference
    noise = estimate - target
    return 10 * torch.log10((target @ target) / (noise @ noise + 1e-8) + 1e-8)


def mean_loss(output, sources):
    """−SI-SNR in dB of a batch under the best permutation of each example.

    Both arguments are (batch, C, samples).
    """
    best = []
    for estimates, references in zip(output, sources, strict=True):
        means = [
            sum(si_snr(estimates[i], references[j]) for i, j in enumerate(order)) / len(order)
            for order in itertools.permutations(range(len(references)))
        ]
        best.append(torch.stack(means).max())
    return -sum(best) / len(best)


def published_loss(outputs, sources):
    """The sum over R outputs, each weighted by (r + 1) / R with r from 0, divided by R."""
    R = len(outputs)
    return sum((r + 1) / R * mean_loss(output, sources) for r, output in enumerate(outputs)) / R


def tracks(row):
    """The mixture and the sources of a row: (1 + C, samples)."""
    return torch.stack(
        [
            torch.from_numpy(soundfile.read(row[column], dtype="float32")[0])
            for column in ("mix_path", "s1_path", "s2_path")
        ]
    )


def read_rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def padded_segments():
    """All training segments in the order of the list, padded with zeros at the end.

    Each is (1 + C, samples), with its own length without the padding.
    """
    segments = []
    for row in read_rows("data/csv/speech/train.csv"):
        utterance = tracks(row)
        count = max(1, math.ceil((utterance.shape[1] - SEGMENT) / STRIDE) + 1)
        for number in range(count):
            cut = utterance[:, number * STRIDE : number * STRIDE + SEGMENT]
            padded = torch.zeros(len(cut), SEGMENT)
            padded[:, : cut.shape[1]] = cut
            segments.append((padded, cut.shape[1]))
    return segments


@pytest.mark.parametrize("accumulation_steps", [1, 3])
def test_a_batch_with_a_short_segment(overlapping, accumulation_steps):
    ours = TrainingBatches(read_list("data/csv/speech/train.csv", 2, 8000), SEGMENT, STRIDE, 4, 0)
    plain = padded_segments()
    assert [segment.length for segment in ours.segments] == [length for _, length in plain]
    shortest = min(range(len(plain)), key=lambda index: plain[index][1])
    assert plain[shortest][1] < 0.8 * SEGMENT
    chosen = [shortest, *(index for index in range(4) if index != shortest)]
    batch = torch.stack([plain[index][0] for index in chosen])
    assert sum(plain[index][1] < SEGMENT for index in chosen) < len(chosen)

    def step(count_padding):
        params = copy.deepcopy(overlapping.params)
        params["svoice"].update(
            R=3, count_padding=count_padding, accumulation_steps=accumulation_steps
        )
        params["clipping"] = {"name": "none"}
        network = training.make_network(Params.of(params)).train()
        stepper = Stepper(network, Params.of(params))
        loss, _ = stepper.step(load([ours.segments[index] for index in chosen], SEGMENT), 1.0, RATE)
        return loss, torch.cat([parameter.grad.flatten() for parameter in network.parameters()])

    params = copy.deepcopy(overlapping.params)
    params["svoice"]["R"] = 3
    network = training.make_network(Params.of(params)).train()
    loss = published_loss(network(batch[:, 0]), batch[:, 1:])
    loss.backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in network.parameters()])
    counted, counted_gradient = step(True)
    assert counted == pytest.approx(loss.item(), rel=1e-5)
    scale = gradient.abs().max().item()
    torch.testing.assert_close(counted_gradient, gradient, rtol=1e-3, atol=1e-4 * scale)
    left_out, left_out_gradient = step(False)
    assert abs(left_out - loss.item()) > 0.05
    assert (left_out_gradient - gradient).abs().max() > 0.01 * scale


def test_training_counts_padding_and_validation_does_not(overlapping, command, set_params):
    """Two epochs, run as a user runs them, against plain PyTorch on the same batches."""
    batch_size = 15
    segments = padded_segments()
    assert len(segments) % batch_size != 0  # the last batch is smaller
    order = TrainingBatches(
        read_list("data/csv/speech/train.csv", 2, 8000), SEGMENT, STRIDE, batch_size, 0
    ).order
    network = training.make_network(Params.of(overlapping.params))
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=0.9)
    losses, validations = [], []
    for epoch in (1, 2):
        network.train()
        indices = order(epoch).tolist()
        for first in range(0, len(indices), batch_size):
            chosen = indices[first : first + batch_size]
            batch = torch.stack([segments[index][0] for index in chosen])
            loss = published_loss(network(batch[:, 0]), batch[:, 1:])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            losses.append(loss.item())
        network.eval()
        with torch.no_grad():
            utterances = [tracks(row)[None] for row in read_rows("data/csv/speech/valid.csv")]
            each = [
                mean_loss(network(utterance[:, 0])[-1], utterance[:, 1:])
                for utterance in utterances
            ]
            assert len({utterance.shape[-1] for utterance in utterances}) > 1
        validations.append(torch.stack(each).mean().item())

    schedule = {"name": "constant", "warmup_steps": 0}
    results = {}
    for count_padding in (True, False):
        svoice = {**overlapping.params["svoice"], "batch_size": batch_size}
        svoice["count_padding"] = count_padding
        set_params(overlapping, svoice=svoice, optimizer=MOMENTUM, schedule=schedule)
        done = command.run("train")
        assert done.returncode == 0, done.stderr
        results[count_padding] = [
            [float(row[column]) for row in read_rows(Path("results/svoice", name))]
            for name, column in (("steps.csv", "loss"), ("epochs.csv", "valid_loss"))
        ]
    actual, valid = results[True]
    assert actual == pytest.approx(losses, abs=2e-3)
    assert actual[0] == pytest.approx(losses[0], rel=1e-5)
    assert valid == pytest.approx(validations, abs=2e-3)
    uncounted = results[False][0]
    assert max(abs(a - b) for a, b in zip(uncounted, losses, strict=True)) > 0.05
