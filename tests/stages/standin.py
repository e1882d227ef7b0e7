"""Stand-ins for corpora: noise and tones under the corpora's file names, as WAV and as SPHERE."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000  # Hz
# The study's eight mixtures and their lengths in samples, at 8 kHz.
STUDY_MIXTURES = {
    "1919-142785-0045_6319-275224-0016.wav": 39840,
    "2803-154328-0017_8297-275155-0016.wav": 59480,
    "2803-161169-0001_7976-110523-0004.wav": 58080,
    "2902-9006-0008_2412-153954-0015.wav": 88640,
    "3752-4943-0021_84-121550-0018.wav": 36120,
    "5694-64038-0005_251-137823-0002.wav": 25040,
    "6313-76958-0012_5536-43363-0016.wav": 52720,
    "8842-302201-0004_3081-166546-0049.wav": 27960,
}


def utterance(name: str, seconds: tuple[float, float] = (2, 8)) -> np.ndarray:
    """Returns the signal that stands for an utterance: noise, and a tone that comes and goes.

    Args:
        name: the same name has the same signal.
        seconds: the shortest and the longest length.

    Returns:
        (samples,), as 16-bit integers.
    """
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    time = np.arange(round(generator.uniform(*seconds) * RATE)) / RATE
    tone = np.sin(2 * np.pi * generator.uniform(80, 3000) * time)
    swell = 1 + np.sin(2 * np.pi * generator.uniform(0.5, 4) * time)
    noise = generator.integers(-1000, 1000, len(time))
    return (generator.uniform(500, 8000) * tone * swell + noise).astype(np.int16)


def wav(samples: np.ndarray) -> bytes:
    """Encodes 16-bit integers, (samples,) or (samples, channels), as a WAV file."""
    content = io.BytesIO()
    soundfile.write(content, samples, RATE, subtype="PCM_16", format="WAV")
    return content.getvalue()


def write_study_mixtures(folder: Path) -> None:
    """Writes mixtures like the study's to `folder`/{mix,s1,s2}/.

    Each has noise 5 to 12 dB below the mixture beside its sources.
    """
    for name in ("mix", "s1", "s2"):
        (folder / name).mkdir(parents=True)
    for number, (name, length) in enumerate(STUDY_MIXTURES.items()):
        seconds = (length + 1) / RATE, (length + 1) / RATE
        one, two = (utterance(f"{part}/{name}", seconds)[:length] / 2**17 for part in ("s1", "s2"))
        noise = np.random.default_rng(number).standard_normal(length)
        noise *= 10 ** (-(6 + number / 2) / 20) * np.std(one + two) / np.std(noise)
        for part, samples in {"mix": one + two + noise, "s1": one, "s2": two}.items():
            soundfile.write(folder / part / name, samples, 8000, subtype="PCM_16")


def sphere(samples: np.ndarray, shortened: bool = False) -> bytes:
    """Encodes 16-bit integers, (samples,), as a SPHERE file.

    Args:
        samples: the signal.
        shortened: compresses it with Shorten. Otherwise the most significant byte is first, as in
            the LDC's files.
    """
    coding = "pcm,embedded-shorten-v2.00" if shortened else "pcm"
    header = f"""NIST_1A
   1024
sample_count -i {len(samples)}
sample_rate -i {RATE}
channel_count -i 1
sample_n_bytes -i 2
sample_byte_format -s2 10
sample_sig_bits -i 16
sample_coding -s{len(coding)} {coding}
end_head
"""
    body = shorten(samples) if shortened else samples.astype(">i2").tobytes()
    return header.encode().ljust(1024, b"\n") + body


def shorten(samples: np.ndarray, block: int = 256) -> bytes:
    """Compresses 16-bit integers, (samples,), into first differences in Rice codes.

    The format is version 2 of Robinson, "Shorten" (1994).

    Args:
        samples: the signal.
        block: the number of samples that share a Rice parameter.
    """
    code = _RiceCode()
    sixteen_bits_high_first, channels = 3, 1
    for value in (sixteen_bits_high_first, channels, block, 0, 0, 0):
        code.integer(value)
    difference, end, new_size = 1, 4, 5
    last = 0
    for start in range(0, len(samples), block):
        part = samples[start : start + block].astype(int)
        if len(part) != block:
            code.unsigned(new_size, 2)
            code.integer(len(part))
        residual = np.diff(part, prepend=last)
        last = part[-1]
        bits = max(int(np.abs(residual).mean()).bit_length() - 1, 0)
        code.unsigned(difference, 2)
        code.unsigned(bits, 3)
        for value in residual.tolist():
            code.signed(value, bits)
    code.unsigned(end, 2)
    return b"ajkg\2" + code.content()


class _RiceCode:
    """Bits to which numbers are appended."""

    def __init__(self):
        self._bits = []

    def unsigned(self, value: int, bits: int) -> None:
        """Appends a number: its high bits in unary, its `bits` low bits in binary."""
        self._bits += [0] * (value >> bits) + [1]
        self._bits += [value >> n & 1 for n in reversed(range(bits))]

    def signed(self, value: int, bits: int) -> None:
        """Appends a number that may be negative."""
        self.unsigned(2 * value if value >= 0 else -2 * value - 1, bits + 1)

    def integer(self, value: int) -> None:
        """Appends a number of any size, and its number of bits before it."""
        bits = value.bit_length()
        self.unsigned(bits, 2)
        self.unsigned(value, bits)

    def content(self) -> bytes:
        """The bits, padded to a multiple of 32."""
        padded = self._bits + [0] * (-len(self._bits) % 32)
        return np.packbits(np.array(padded, np.uint8)).tobytes()
