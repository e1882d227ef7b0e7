"""How long the sequences are that the networks see, by formulas that the trainers and the plan of a
training share."""

from __future__ import annotations

import math

# The length of the chunk in the middle of a song on whose middle Spleeter validates
# (`spleeter.dataset.get_validation_dataset`).
VALID_SECONDS = 12.0


def frame_count(samples: int, frame_length: int, frame_step: int, at_least: int) -> int:
    """Returns the number of frames of the STFT of a waveform.

    Args:
        samples: the length of the waveform.
        frame_length: in samples.
        frame_step: in samples.
        at_least: the smallest number of frames, for which a shorter waveform is padded.
    """
    return max((samples - frame_length) // frame_step + 1, at_least)


def valid_chunk_seconds(chunk_seconds: float, least_seconds: float) -> float:
    """Returns the length of the chunk on whose middle T frames Spleeter validates.

    It is 12 s as in Spleeter or, where these do not hold T frames and Spleeter would fail, the
    length of the chunks in training.

    Args:
        chunk_seconds: the length of the chunks in training.
        least_seconds: the length of the shortest chunk that holds T frames.
    """
    return VALID_SECONDS if least_seconds <= VALID_SECONDS else chunk_seconds


def chunk_length(sample_rate: int, segment_seconds: float, L: int) -> int:
    """Returns K, the frames in a chunk of SVoice: near the square root of twice a segment's frames.

    The sequences within and across chunks are then about equally long.

    Args:
        sample_rate: in Hz.
        segment_seconds: the length of the segments on which the network is trained.
        L: the encoder's kernel in samples; its hop is L/2.
    """
    return math.floor(math.sqrt(2 * sample_rate * segment_seconds / (L / 2)))


def tiles(length: int, K: int) -> int:
    """Returns how many chunks each of the two tilings of `svoice.chunks.chunk` has.

    Args:
        length: the frames of the sequence.
        K: the frames of a chunk.
    """
    return -(-(length + K // 2) // K)
