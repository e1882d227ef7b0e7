"""SPHERE files, in which the LDC distributes speech.

A SPHERE file is a header of text followed by samples, which may be compressed with Shorten. ffmpeg
decodes both.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from contract.errors import InputError
from stages.datasets.audio import ANOTHER_COPY, require_mono

MAGIC = b"NIST_1A\n"


def is_sphere(path: Path) -> bool:
    """Returns whether a file's content is SPHERE, whatever its name.

    Args:
        path: the file, which exists.
    """
    with path.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


def read_sphere(path: Path) -> tuple[np.ndarray, int]:
    """Reads a mono SPHERE file of 16 bits.

    Args:
        path: the file.

    Returns:
        The samples, (samples,), within ±1; and the sample rate in Hz.

    Raises:
        InputError: the file is not such a file, or does not hold what its header says; or ffmpeg
            is not installed.
    """
    header = _read_header(path)
    try:
        count = int(header["sample_count"])
        sample_rate = int(header["sample_rate"])
        channels = int(header["channel_count"])
    except (KeyError, ValueError):
        problem = "has a SPHERE header without a valid sample count, sample rate and channel count"
        raise InputError(path, problem, ANOTHER_COPY) from None
    require_mono(path, channels)
    if count == 0:
        raise InputError(path, "has no samples", ANOTHER_COPY)
    samples = np.frombuffer(_decode(path), "<i2")
    if len(samples) != count:
        problem = f"is cut short: it has {len(samples)} samples and its header says {count}"
        raise InputError(path, problem, ANOTHER_COPY)
    return samples / 2**15, sample_rate


def _read_header(path: Path) -> dict[str, str]:
    """The values of a header by their names.

    The header's second line is its size in bytes. The lines after it are `name -type value`.
    """
    with path.open("rb") as stream:
        stream.readline()
        size = stream.readline().strip()
        text = stream.read(int(size) if size.isdigit() else 0)
    lines = (line.split(None, 2) for line in text.decode("latin-1").splitlines())
    return {fields[0]: fields[2].strip() for fields in lines if len(fields) == 3}


def _decode(path: Path) -> bytes:
    """The samples of a file as 16-bit integers, the least significant byte first."""
    command = ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1", "-f", "nistsphere"]
    command += ["-i", f"file:{path}", "-f", "s16le", "-"]
    try:
        finished = subprocess.run(command, capture_output=True)
    except FileNotFoundError:
        raise InputError(
            "ffmpeg", "is not installed", "install it, because it decodes SPHERE files"
        ) from None
    if finished.returncode:
        lines = finished.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"ffmpeg ended with exit code {finished.returncode}"
        raise InputError(path, f"cannot be decoded ({reason})", ANOTHER_COPY)
    return finished.stdout[: len(finished.stdout) // 2 * 2]
