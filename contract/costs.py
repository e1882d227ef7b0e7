"""What a training step costs: its floating-point operations, by formulas from the networks' sizes.

A multiplication with the addition that follows it counts as two operations. Only convolutions and
matrix products are counted, as other operations are few beside them. The gradients of a product
take two products of the same size, so that a step costs three times its forward pass (Kaplan et
al., arXiv 2001.08361, section 2.1).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from contract.model_settings import SpleeterSettings, SVoiceSettings
from contract.sources import STEMS

STEREO = 2
PER_PRODUCT = 2  # a multiplication and an addition
PER_STEP = 3  # the forward pass, and the gradients of both factors of each product
KERNEL = 5 * 5  # of the U-Net's convolutions on all levels
LAST_KERNEL = 4 * 4  # of the one that makes the mask


def spleeter_step(settings: SpleeterSettings) -> float:
    """Returns the floating-point operations of a training step of Spleeter.

    Args:
        settings: the network and its batch.
    """
    products = sum(_unet_products(settings.T, settings.F, settings.filters))
    return PER_STEP * PER_PRODUCT * settings.batch_size * len(STEMS) * products


def _unet_products(T: int, F: int, filters: list[int]) -> Iterator[float]:
    """Yields the multiplications of each convolution of a U-Net for one segment.

    Args:
        T: frames.
        F: frequency bins.
        filters: of the convolutions, level by level, each of which halves both axes.
    """
    levels = len(filters)
    sizes = [T * F / 4**level for level in range(levels + 1)]  # positions, from the input down
    for size, inputs, outputs in zip(sizes[1:], [STEREO, *filters], filters, strict=False):
        yield size * KERNEL * inputs * outputs
    # On the way back each level also sees the output of its level on the way down. The transposed
    # convolution multiplies at each position of its input.
    inputs = filters[-1]
    for level in range(levels, 0, -1):
        outputs = filters[level - 2] if level > 1 else 1
        yield sizes[level] * KERNEL * inputs * outputs
        inputs = 2 * outputs
    yield sizes[0] * LAST_KERNEL * STEREO


def svoice_step(settings: SVoiceSettings, sample_rate: int, speakers: int) -> float:
    """Returns the floating-point operations of a training step of SVoice.

    What activation checkpointing computes again is counted, too.

    Args:
        settings: the network and its batch.
        sample_rate: of the mixtures, in Hz.
        speakers: how many there are in a mixture.
    """
    N, L, H = settings.N, settings.L, settings.H
    samples = round(settings.segment_seconds * sample_rate)
    frames = (samples - L) // (L // 2) + 1
    K = math.floor(math.sqrt(2 * sample_rate * settings.segment_seconds / (L / 2)))
    positions = 2 * K * math.ceil((frames + K // 2) / K)  # of all chunks together
    lstms = 2 * 2 * 4 * H * (N + H)  # two, of two directions, of four gates
    mulcat = lstms + 2 * (2 * H * N) + 2 * N * N
    block = 2 * mulcat * positions  # within the chunks, and across them
    decoder = N * speakers * N * positions  # after each block in training
    encoder = frames * N * L
    passes = PER_STEP + (1 if settings.activation_checkpointing else 0)
    products = settings.R * (passes * block + PER_STEP * decoder) + PER_STEP * encoder
    return PER_PRODUCT * settings.batch_size * products
