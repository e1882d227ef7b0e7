"""SPHERE files, in which the LDC distributes speech: a header of text, then samples, which may be
Shorten-compressed. Decoded by ffmpeg, which reads both."""

import subprocess
from pathlib import Path

import numpy as np

from metrics.errors import InputError

MAGIC = b"NIST_1A\n"


def is_sphere(path: Path) -> bool:
    """By its content; whatever its name."""
    with path.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


def read_sphere(path: Path) -> tuple[np.ndarray, int]:
    """The samples (samples,) of a mono file of 16 bits, within ±1, and the sample rate in Hz.

    Raises:
        InputError: not such a file, or it does not hold what its header says.
    """
    header = _header(path)
    try:
        count, rate, channels = (
            int(header[key]) for key in ("sample_count", "sample_rate", "channel_count")
        )
    except (KeyError, ValueError):
        raise InputError(path, "a bad SPHERE header", "its count, rate and channels") from None
    if channels != 1:
        raise InputError(path, f"{channels} channels", "mono")
    if count == 0:
        raise InputError(path, "no samples", "audio")
    samples = np.frombuffer(_decoded(path), "<i2")
    if len(samples) != count:
        raise InputError(path, f"{len(samples)} samples", f"{count} as its header says")
    return samples / 2**15, rate


def _header(path: Path) -> dict[str, str]:
    """Name → value. A line is `name -type value`; the second line of all is the header's size."""
    with path.open("rb") as stream:
        stream.readline()
        size = stream.readline().strip()
        text = stream.read(int(size) if size.isdigit() else 0)
    fields = (line.split(None, 2) for line in text.decode("latin-1").splitlines())
    return {field[0]: field[2].strip() for field in fields if len(field) == 3}


def _decoded(path: Path) -> bytes:
    command = ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1", "-f", "nistsphere"]
    try:
        done = subprocess.run(
            [*command, "-i", f"file:{path}", "-f", "s16le", "-"], capture_output=True
        )
    except FileNotFoundError:
        raise InputError("ffmpeg", "no such program", "it, to decode SPHERE files") from None
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise InputError(path, reason[-1] if reason else "a bad file", "a SPHERE file")
    return done.stdout[: len(done.stdout) // 2 * 2]
