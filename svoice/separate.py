"""Separate recordings: `python -m svoice.separate CHECKPOINT FILE.wav… --out DIR`.

Separates the speakers of recordings of any length with a trained network. All recordings are
checked before the first one is separated. The channels of a recording are averaged, and any sample
rate is resampled to that of the network and back. Each estimate has the level at which it best
explains the recording (least squares).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.signal import resample_poly
from tqdm import tqdm

from contract.arguments import Parser
from contract.errors import InputError, one_line
from contract.files import temporary, write_together
from contract.wav import float_wav
from svoice.checkpoint import load_model
from svoice.data import opened
from svoice.devices import WEIGHTS, default_device, memory_errors_explained
from svoice.loss import best_permutation
from svoice.network import SVoice

# An utterance of a corpus fits into one window, so that it is separated as by svoice.estimate. A
# longer window would only demand more of LSTMs that were trained on segments of a few seconds.
WINDOW_SECONDS = 30
# Long enough for every speaker, or all but one, to say something within it.
OVERLAP_SECONDS = 6

BLOCK = 1 << 20  # samples that are read at a time

# What does not fit into the memory, and what to do.
RECORDING = (
    "the network and the recording",
    "end other programs that use it, or cut the recording into shorter parts",
)


def levelled(estimates: np.ndarray, mixture: np.ndarray) -> np.ndarray:
    """Scales each estimate by the least-squares factor with which it best explains the mixture.

    The factor is ⟨estimate, mixture⟩ / ⟨estimate, estimate⟩, and 0 for a silent estimate. It is
    needed because SI-SNR determines neither the level of an estimate nor its sign.

    Args:
        estimates: (C, samples), float32.
        mixture: (samples,), float32.

    Returns:
        The scaled estimates, (C, samples), float32.
    """
    products = np.einsum("cs,s->c", estimates, mixture, dtype=np.float64)
    energies = np.einsum("cs,cs->c", estimates, estimates, dtype=np.float64)
    factors = np.divide(products, energies, np.zeros_like(energies), where=energies > 0)
    return estimates * factors[:, None].astype(np.float32)


def continuation(estimates: np.ndarray, previous: np.ndarray) -> np.ndarray:
    """Gives the estimates of a window the order, signs and levels of those before it.

    The order is the one with the largest sum of |inner products| in the overlap. Unlike SI-SNR, an
    inner product weighs by energy. This matters because the estimate of a speaker who is silent in
    the overlap is a faint residue there, which resembles the other speakers as much as it resembles
    the residue of another window.

    An estimate takes the sign and the level of its predecessor where their correlation in the
    overlap shows that they share most of their energy. Otherwise it keeps its own.

    Args:
        estimates: the estimates of the window, (C, samples), float32.
        previous: estimates of the overlap from the windows before, (C, overlap), float32; the
            overlap is the beginning of the window.

    Returns:
        The window's estimates, reordered and scaled, (C, samples), float32.
    """
    overlapping = estimates[:, : previous.shape[1]]
    products = np.einsum("is,js->ij", previous, overlapping, dtype=np.float64)
    order = best_permutation(torch.from_numpy(np.abs(products)).unsqueeze(0))[0].numpy()
    products = np.take_along_axis(products, order[:, None], 1)[:, 0]
    previous_energies = np.einsum("cs,cs->c", previous, previous, dtype=np.float64)
    energies = np.einsum("cs,cs->c", overlapping, overlapping, dtype=np.float64)[order]
    alike = products**2 > previous_energies * energies / 2
    ratios = np.divide(previous_energies, energies, np.ones_like(energies), where=alike)
    factors = np.where(alike, np.sign(products), 1) * np.sqrt(ratios)
    return estimates[order] * factors[:, None].astype(np.float32)


def window_starts(samples: int, window: int, overlap: int) -> list[int]:
    """Returns where the windows start that cover a recording.

    Each window overlaps the one before it by `overlap`, and the last one by more if the recording
    ends there.

    Args:
        samples: the samples of the recording.
        window: the samples of a window.
        overlap: in samples.
    """
    last = max(0, samples - window)
    return [*range(0, last, window - overlap), last]


@torch.inference_mode()
def separate(
    network: SVoice,
    mixture: np.ndarray,
    window: int,
    overlap: int,
    progress: Callable[[int], object] = lambda samples: None,
) -> np.ndarray:
    """Separates a mixture of any length, one window after the other.

    The network needs the memory of one window; the mixture and its estimates are in main memory as
    a whole. In each overlap, the new window's estimates follow those before them (see
    `continuation`) and are cross-faded with them. A mixture of one window gives the network's
    estimates at the levels of `levelled`.

    Args:
        network: the trained network.
        mixture: (samples,), float32, at the network's sample rate.
        window: the samples of a window.
        overlap: how many samples two windows share.
        progress: is called after each window with the number of samples that it has added.

    Returns:
        The estimates, (C, samples), float32.
    """
    estimates = np.empty((network.C, len(mixture)), np.float32)
    end = 0
    for start in window_starts(len(mixture), window, overlap):
        piece = mixture[start : start + window]
        outputs = network(torch.from_numpy(piece).unsqueeze(0).to(default_device()))
        previous = estimates[:, start:end]
        new = continuation(levelled(outputs[-1, 0].cpu().numpy(), piece), previous)
        fade = np.linspace(0, 1, end - start, dtype=np.float32)
        new[:, : end - start] = (1 - fade) * previous + fade * new[:, : end - start]
        estimates[:, start : start + window] = new
        progress(start + len(piece) - end)
        end = start + len(piece)
    return estimates


def blocks(path: str) -> Iterator[np.ndarray]:
    """Yields the samples of a recording in blocks, (samples, channels), float32.

    Args:
        path: the recording.

    Raises:
        InputError: the file cannot be read.
    """
    with opened(path) as file:
        # `file.blocks` is not used: if a file is shorter than its header says, it invents samples.
        while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
            yield block


def separate_file(
    network: SVoice, path: str, progress: Callable[[float], object]
) -> tuple[np.ndarray, int]:
    """Separates a recording.

    Args:
        network: the trained network.
        path: the recording.
        progress: is called after each window with the number of seconds that it has added.

    Returns:
        The estimates at the levels of `levelled`, (C, samples), and their sample rate, which is
        that of the recording, in Hz.

    Raises:
        InputError: the file cannot be read, or its samples are too large to be separated.
    """
    with opened(path) as file:
        rate = file.samplerate
    network_rate = network.configuration["sample_rate"]
    window, overlap = (
        round(network_rate * seconds) for seconds in (WINDOW_SECONDS, OVERLAP_SECONDS)
    )
    with np.errstate(over="ignore", invalid="ignore"):  # infinite and NaN samples are refused below
        recording = np.concatenate([block.mean(1) for block in blocks(path)])
        mixture = resample_poly(recording, network_rate, rate)
        estimates = separate(
            network, mixture, window, overlap, lambda samples: progress(samples / network_rate)
        )
        estimates = resample_poly(estimates, rate, network_rate, axis=1)[:, : len(recording)]
        estimates = levelled(estimates, recording)
    if not np.isfinite(estimates).all():
        problem = "its estimates have NaN or infinite samples"
        raise InputError(path, problem, "scale the recording to at most 1")
    return estimates, rate


def duration(path: str) -> float:
    """Returns the seconds of a recording, after checking that it can be separated.

    Args:
        path: the recording.

    Raises:
        InputError: there is no such file, it cannot be read, or it has no samples or samples that
            are NaN or infinite.
    """
    if os.path.isdir(path):
        raise InputError(path, "is a folder", "name the recordings in it")
    if not os.path.isfile(path):
        raise InputError(path, "there is no such file", "correct the path")
    if os.path.getsize(path) == 0:
        raise InputError(path, "is empty", "leave it out")
    if Path(path).suffix.lower() == ".raw":  # soundfile reads it as samples without a header
        raise InputError(path, "does not tell its sample rate", "convert it to WAV")
    samples = 0
    for block in blocks(path):
        samples += len(block)
        if not np.isfinite(block).all():
            raise InputError(path, "has NaN or infinite samples", "leave it out")
    if samples == 0:
        raise InputError(path, "has no samples", "leave it out")
    with opened(path) as file:
        return samples / file.samplerate


def outputs_of(path: str, out: Path, speakers: int) -> list[Path]:
    """Returns the files for the estimates of a recording.

    Args:
        path: the recording.
        out: the folder for the estimates.
        speakers: the number of estimates.
    """
    return [out / f"{Path(path).stem}_s{n}.wav" for n in range(1, speakers + 1)]


def check_outputs(paths: Sequence[str], out: Path, speakers: int) -> None:
    """Checks the names of the estimates before any recording is separated.

    Args:
        paths: the recordings.
        out: the folder for the estimates, which may not exist yet.
        speakers: the number of estimates of each recording.

    Raises:
        InputError: an estimate would overwrite another one or a recording, or its name is too long.
    """
    recording_of: dict[Path, str] = {}
    recordings = {os.path.realpath(path) for path in paths}
    existing = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    longest = os.pathconf(existing, "PC_NAME_MAX")
    for path in paths:
        outputs = outputs_of(path, out, speakers)
        excess = max(len(os.fsencode(temporary(output).name)) for output in outputs) - longest
        if excess > 0:
            size = len(os.fsencode(Path(path).stem))
            problem = f"has a name of {size} bytes before its suffix, too long for its estimates"
            raise InputError(path, problem, f"shorten it to at most {size - excess}")
        for output in outputs:
            if output in recording_of:
                problem = f"has the same name as {recording_of[output]}, and so have the estimates"
                raise InputError(path, problem, "rename one of them")
            if os.path.realpath(output) in recordings:
                problem = "is a recording that its estimate would overwrite"
                raise InputError(output, problem, "choose another folder for --out")
            recording_of[output] = path


def make_folder(out: Path) -> None:
    """Makes the folder for the estimates, unless it exists.

    Args:
        out: the folder.

    Raises:
        InputError: it, or a folder above it, is a file.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        problem = "is a file, or lies below one"
        raise InputError(out, problem, "choose another folder for --out") from None


@one_line
def main(arguments: Sequence[str] | None = None) -> None:
    """Separates recordings as the command line says.

    Args:
        arguments: the arguments of the command line, by default those of this process.
    """
    parser = Parser(__doc__)
    parser.add_argument(
        "checkpoint",
        help="a file of svoice.train: its model.pt, or the checkpoint.pt of an unfinished "
        "training, of which the best weights are used",
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="a recording: WAV, FLAC and what soundfile reads"
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        type=Path,
        help="the folder for the estimates, DIR/<name>_s1.wav …, 32-bit float WAV",
    )
    options = parser.parse_args(arguments)
    with memory_errors_explained(options.checkpoint, *WEIGHTS):
        network = load_model(options.checkpoint).to(default_device())
    check_outputs(options.files, options.out, network.C)
    durations = [duration(path) for path in options.files]
    make_folder(options.out)
    with tqdm(
        total=sum(durations),
        bar_format="{l_bar}{bar}| {n:.1f}/{total:.1f} s [{elapsed}<{remaining}]",
        disable=not sys.stderr.isatty(),
    ) as bar:
        for path, seconds in zip(options.files, durations, strict=True):
            with memory_errors_explained(path, *RECORDING):
                estimates, rate = separate_file(network, path, bar.update)
                outputs = outputs_of(path, options.out, network.C)
                write_together(
                    {
                        output: float_wav(output, estimate.astype("<f4").tobytes(), rate, 1)
                        for output, estimate in zip(outputs, estimates, strict=True)
                    }
                )
            line = f"{path}: {seconds:.1f} s → {', '.join(map(str, outputs))}"
            tqdm.write(os.fsencode(line).decode(errors="replace"))  # a name may not be UTF-8
            sys.stdout.flush()


if __name__ == "__main__":
    main()
