"""What a training costs: operations and memory, by formulas from the networks' sizes.

A multiplication with the addition that follows it counts as two operations. Only convolutions and
matrix products are counted, as other operations are few beside them. The gradients of a product
take two products of the same size, so that a step costs three times its forward pass (Kaplan et
al., arXiv 2001.08361, section 2.1).

Memory is that of a training process on a CPU: the framework, the weights with their gradients and
Adam's two moments, and the activations of a step, in 32-bit numbers. The peaks of measured
trainings are within 30 % of it (docs/benchmarks.md has those of the published sizes). Another
optimizer may keep less, or more by some copies of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from contract.model_settings import SpleeterSettings, SVoiceSettings
from contract.sizes import chunk_length, tiles
from contract.sources import STEMS

STEREO = 2
PER_PRODUCT = 2  # a multiplication and an addition
PER_STEP = 3  # the forward pass, and the gradients of both factors of each product
KERNEL = 5 * 5  # of the U-Net's convolutions on all levels
LAST_KERNEL = 4 * 4  # of the one that makes the mask
NUMBER = 4  # bytes
PER_WEIGHT = 4  # the weight, its gradient and Adam's two moments
TENSORFLOW = 0.8e9  # bytes of a process beside the weights and the activations
PYTORCH = 0.4e9


def spleeter_step(settings: SpleeterSettings) -> float:
    """Returns the floating-point operations of a training step of Spleeter.

    Args:
        settings: the network and its batch.
    """
    products = sum(_unet_products(settings.T, settings.F, settings.filters))
    return PER_STEP * PER_PRODUCT * settings.batch_size * len(STEMS) * products


def spleeter_parameters(settings: SpleeterSettings) -> int:
    """Returns the number of trainable parameters of Spleeter, for all stems.

    Args:
        settings: the network.
    """
    count = 0
    for inputs, outputs in _layers(settings.filters):
        count += inputs * outputs * KERNEL + outputs  # the kernel and the bias
        count += 2 * outputs  # the scale and the offset of the batch normalisation
    return len(STEMS) * (count + LAST_KERNEL * STEREO + STEREO)


def spleeter_memory(settings: SpleeterSettings) -> float:
    """Returns the memory of a training process of Spleeter on a CPU, in bytes.

    The gradients need three arrays of each layer: the output of the convolution, that of the
    activation and that of the batch normalisation. On the way back the outputs of the way down are
    copied beside them. At the full size, four arrays make the mask, the estimate and the loss.

    Args:
        settings: the network and its batch.
    """
    down = [filters / 4**level for level, filters in enumerate(settings.filters, 1)]
    up = [filters / 4**level for level, filters in enumerate(settings.filters[:-1], 1)]
    per_bin = 3 * (sum(down) + sum(up) + 1) + sum(up) + 4 * STEREO
    bins = settings.batch_size * len(STEMS) * settings.T * settings.F
    weights = PER_WEIGHT * spleeter_parameters(settings)
    return TENSORFLOW + NUMBER * (weights + per_bin * bins)


def spleeter_kernels(settings: SpleeterSettings) -> int:
    """Returns at least how many kernels a GPU runs one after the other in a step of Spleeter.

    Args:
        settings: the network.
    """
    layers = 2 * len(settings.filters) + 1
    return len(STEMS) * layers * PER_STEP * 3  # the operations of `spleeter_memory`


def _layers(filters: list[int]) -> Iterator[tuple[int, int]]:
    """Yields the input and output channels of the convolutions of a U-Net with 5 × 5 kernels."""
    yield from zip([STEREO, *filters], filters, strict=False)
    # On the way back each level also sees the output of its level on the way down.
    inputs = filters[-1]
    for outputs in (*reversed(filters[:-1]), 1):
        yield inputs, outputs
        inputs = 2 * outputs


def _unet_products(T: int, F: int, filters: list[int]) -> Iterator[float]:
    """Yields the multiplications of each convolution of a U-Net for one segment.

    Args:
        T: frames.
        F: frequency bins.
        filters: of the convolutions, level by level, each of which halves both axes.
    """
    levels = len(filters)
    # A convolution multiplies at each position of its output; a transposed one, at each of its
    # input: the levels from the first down, and up again.
    positions = [T * F / 4**level for level in (*range(1, levels + 1), *range(levels, 0, -1))]
    for size, (inputs, outputs) in zip(positions, _layers(filters), strict=True):
        yield size * KERNEL * inputs * outputs
    yield T * F * LAST_KERNEL * STEREO


def svoice_step(settings: SVoiceSettings, sample_rate: int, speakers: int) -> float:
    """Returns the floating-point operations of a training step of SVoice.

    What activation checkpointing computes again is counted, too.

    Args:
        settings: the network and its batch.
        sample_rate: of the mixtures, in Hz.
        speakers: how many there are in a mixture.
    """
    N, H = settings.N, settings.H
    frames, K, chunks = _svoice_sizes(settings, sample_rate)
    positions = K * chunks
    lstms = 2 * 2 * 4 * H * (N + H)  # two, of two directions, of four gates
    mulcat = lstms + 2 * (2 * H * N) + 2 * N * N
    block = 2 * mulcat * positions  # within the chunks, and across them
    decoder = N * speakers * N * positions  # after each block in training
    encoder = frames * N * settings.L
    passes = PER_STEP + (1 if settings.activation_checkpointing else 0)
    products = settings.R * (passes * block + PER_STEP * decoder) + PER_STEP * encoder
    return PER_PRODUCT * settings.batch_size * products


def svoice_parameters(settings: SVoiceSettings, speakers: int) -> int:
    """Returns the number of parameters of SVoice.

    Args:
        settings: the network.
        speakers: how many there are in a mixture.
    """
    N, H = settings.N, settings.H
    lstm = 2 * (4 * H * (N + H) + 2 * 4 * H)  # two directions, with two biases
    mulcat = 2 * (lstm + 2 * H * N + N) + 2 * N * N + N
    norms = 2 * 2 * N if settings.group_norm else 0
    separation = 1 + speakers * N * (N + 1)  # with the slope of the activation
    return settings.R * (2 * mulcat + norms) + settings.L * N + separation


def svoice_memory(
    settings: SVoiceSettings, sample_rate: int, speakers: int, gpu: bool = False
) -> float:
    """Returns the memory of a training process of SVoice, in bytes.

    A MulCat block keeps its input, the outputs of two LSTMs after their linear layers, their
    product, and of the LSTMs the gates. Two arrays of each double block go to the decoder. While
    one MulCat block is differentiated, the cells and outputs of its LSTMs, and three gradients of
    N features, are there as well.

    Args:
        settings: the network and its batch.
        sample_rate: of the mixtures, in Hz.
        speakers: how many there are in a mixture.
        gpu: whether cuDNN runs the LSTMs, which may keep cells and outputs besides the gates; the
            result is then an upper estimate that no measurement has confirmed.
    """
    N, H, R = settings.N, settings.H, settings.R
    _, K, chunks = _svoice_sizes(settings, sample_rate)
    gates, cells, outputs = 4 * 4 * H, 4 * H, 4 * H  # of two LSTMs in two directions
    mulcat = gates + 4 * N + (cells + 2 * outputs if gpu else 0)
    kept = 2 * mulcat + R * N if settings.activation_checkpointing else R * 2 * mulcat
    per_position = kept + R * 2 * N + cells + outputs + 3 * N
    batch = math.ceil(settings.batch_size / settings.accumulation_steps)
    weights = PER_WEIGHT * svoice_parameters(settings, speakers)
    return PYTORCH + NUMBER * (weights + batch * K * chunks * per_position)


def svoice_kernels(settings: SVoiceSettings, sample_rate: int) -> int:
    """Returns at least how many kernels a GPU runs one after the other in a step of SVoice.

    Args:
        settings: the network.
        sample_rate: of the mixtures, in Hz.
    """
    _, K, chunks = _svoice_sizes(settings, sample_rate)
    # A kernel for each time step of two LSTMs, whose two directions may run at once.
    return settings.R * 2 * (K + chunks) * PER_STEP * settings.accumulation_steps


def _svoice_sizes(settings: SVoiceSettings, sample_rate: int) -> tuple[int, int, int]:
    """Returns the frames of a segment, those of a chunk, and the chunks of a segment."""
    L = settings.L
    samples = round(settings.segment_seconds * sample_rate)
    frames = (samples - L) // (L // 2) + 1
    K = chunk_length(sample_rate, settings.segment_seconds, L)
    return frames, K, 2 * tiles(frames, K)
