"""Separate recordings: `python -m svoice.separate CHECKPOINT FILE.wav… --out DIR`.

The speakers of recordings of any length, with a trained network. Every recording is checked before
the first is separated. Channels are averaged to one, any sample rate is resampled to the network's
and back. Each estimate has the level at which it best explains the recording (least squares).
"""

import math
import os
import sys
from pathlib import Path

import numpy as np
import torch
from scipy.signal import resample_poly
from tqdm import tqdm

from svoice import files
from svoice.arguments import Parser
from svoice.checkpoint import load_model
from svoice.data import opened, wav
from svoice.devices import default_device
from svoice.errors import InputError, one_line
from svoice.loss import best_permutation

# An utterance of a corpus fits into one window, so it is separated as svoice.estimate does it. A
# longer window would only ask more of LSTMs that have learned from segments of a few seconds.
WINDOW_SECONDS = 30
# Long enough for each speaker to have said something in it, or for all but one.
OVERLAP_SECONDS = 6

BLOCK = 1 << 20  # samples read at a time
EXPECTED = "a recording"


def levelled(estimates, mixture):
    """Each estimate × the least-squares factor that best explains the mixture with it,
    ⟨estimate, mixture⟩ / ⟨estimate, estimate⟩, and a silent one × 0: SI-SNR leaves an estimate's
    level free, and its sign.

    estimates (C, samples), mixture (samples,) → (C, samples)
    """
    products = np.einsum("cs,s->c", estimates, mixture, dtype=np.float64)
    energies = np.einsum("cs,cs->c", estimates, estimates, dtype=np.float64)
    factors = np.divide(products, energies, np.zeros_like(energies), where=energies > 0)
    return estimates * factors[:, None].astype(np.float32)


def continuation(estimates, written):
    """Estimates of a window in the order, signs and levels of what the windows before it gave.

    estimates (C, samples), whose first samples are also those of written (C, overlap)
    → (C, samples)

    The order is that of the largest sum of |inner products| in the overlap. Other than SI-SNR, an
    inner product weighs by energy: the estimate of a speaker who is silent there is a faint
    residue, which resembles other speakers as much as the residue of another window.
    An estimate takes the sign and the level of its predecessor where their correlation in the
    overlap shows that they share most of their energy; else it keeps its own.
    """
    again = estimates[:, : written.shape[1]]
    products = np.einsum("is,js->ij", written, again, dtype=np.float64)
    order = best_permutation(torch.from_numpy(np.abs(products)).unsqueeze(0))[0].numpy()
    products = np.take_along_axis(products, order[:, None], 1)[:, 0]
    before = np.einsum("cs,cs->c", written, written, dtype=np.float64)
    now = np.einsum("cs,cs->c", again, again, dtype=np.float64)[order]
    alike = products**2 > before * now / 2
    ratios = np.divide(before, now, np.ones_like(now), where=alike)
    factors = np.where(alike, np.sign(products), 1) * np.sqrt(ratios)
    return estimates[order] * factors[:, None].astype(np.float32)


def window_starts(samples, window, overlap):
    """Where the windows start that cover so many samples. Each overlaps the one before it by
    `overlap`, the last one by more where the samples' end asks for it."""
    last = max(0, samples - window)
    return [*range(0, last, window - overlap), last]


@torch.inference_mode()
def separate(network, mixture, window, overlap, done=lambda samples: None):
    """Separate a mixture of any length, `window` samples at a time.

    mixture (samples,) → estimates (C, samples), both float32. done: called after each window with
    the number of samples it added.

    The network's memory is at most that of one window; the mixture and its estimates are in main
    memory whole. In each overlap, the new window's estimates follow the ones before (see
    `continuation`) and are cross-faded with them. A mixture of one window gives the network's
    estimates at the levels of `levelled`.
    """
    estimates = np.empty((network.C, len(mixture)), np.float32)
    end = 0
    for start in window_starts(len(mixture), window, overlap):
        piece = mixture[start : start + window]
        outputs = network(torch.from_numpy(piece).unsqueeze(0).to(default_device()))
        written = estimates[:, start:end]
        new = continuation(levelled(outputs[-1, 0].cpu().numpy(), piece), written)
        fade = np.linspace(0, 1, end - start, dtype=np.float32)
        new[:, : end - start] = (1 - fade) * written + fade * new[:, : end - start]
        estimates[:, start : start + window] = new
        done(start + len(piece) - end)
        end = start + len(piece)
    return estimates


def resample(signals, rate, new_rate):
    """Signals (…, samples) of `rate` Hz at `new_rate` Hz, the last sample rounded up."""
    common = math.gcd(rate, new_rate)
    return resample_poly(signals, new_rate // common, rate // common, axis=-1)


def blocks(path):
    """The samples of a recording, in pieces (samples, channels), float32.

    Raises InputError when it cannot be read.
    """
    with opened(path) as file:
        # Not file.blocks: of a file shorter than its header states, that makes samples up.
        while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
            yield block


def separate_file(network, path, done):
    """The estimates of a recording, (C, samples) at its own sample rate in Hz, and that rate.

    Each is at the level of `levelled`.
    """
    with opened(path) as file:
        rate = file.samplerate
    own_rate = network.configuration["sample_rate"]
    window, overlap = (round(own_rate * seconds) for seconds in (WINDOW_SECONDS, OVERLAP_SECONDS))
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
        recording = np.concatenate([block.mean(1) for block in blocks(path)])
        mixture = resample(recording, rate, own_rate)
        estimates = separate(
            network, mixture, window, overlap, lambda samples: done(samples / own_rate)
        )
        estimates = levelled(resample(estimates, own_rate, rate)[:, : len(recording)], recording)
    if not np.isfinite(estimates).all():
        raise InputError(path, "estimates with NaN or infinite samples", "finite ones")
    return estimates, rate


def duration(path):
    """The seconds of a recording. Raises InputError when it is not one that can be separated."""
    if os.path.isdir(path):
        raise InputError(path, "a folder", EXPECTED)
    if not os.path.isfile(path):
        raise InputError(path, "no file", EXPECTED)
    if os.path.getsize(path) == 0:
        raise InputError(path, "an empty file", EXPECTED)
    if Path(path).suffix.lower() == ".raw":  # which soundfile takes for samples alone
        raise InputError(path, "a file that does not tell its sample rate", EXPECTED)
    samples = 0
    for block in blocks(path):
        samples += len(block)
        if not np.isfinite(block).all():
            raise InputError(path, "NaN or infinite samples", "finite ones")
    if samples == 0:
        raise InputError(path, "no samples", EXPECTED)
    with opened(path) as file:
        return samples / file.samplerate


def outputs_of(path, out, speakers):
    """The files for the estimates of a recording."""
    return [out / f"{Path(path).stem}_s{n}.wav" for n in range(1, speakers + 1)]


def check_outputs(paths, out, speakers):
    """Raise InputError where a file would be written twice, or in the place of a recording, or
    under a name that is too long."""
    sources = {}
    recordings = {os.path.realpath(path) for path in paths}
    there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    longest = os.pathconf(there, "PC_NAME_MAX")
    for path in paths:
        for output in outputs_of(path, out, speakers):
            over = len(os.fsencode(files.temporary(output).name)) - longest
            if over > 0:
                size = len(os.fsencode(Path(path).stem))
                expected = f"at most {size - over}, for the estimates' are longer"
                raise InputError(path, f"a name of {size} bytes before its suffix", expected)
        for output in outputs_of(path, out, speakers):
            if output in sources:
                raise InputError(path, f"the name of {sources[output]}", "a name of its own")
            if os.path.realpath(output) in recordings:
                raise InputError(output, "a recording to separate", "another folder for --out")
            sources[output] = path


def make_folder(out):
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(out, "a file", "a folder") from None


@one_line
def main(arguments=None):
    parser = Parser(__doc__)
    parser.add_argument(
        "checkpoint",
        help="what svoice.train leaves: its model.pt, or the checkpoint.pt of an "
        "unfinished training, of which the best weights are used",
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
            estimates, rate = separate_file(network, path, bar.update)
            outputs = outputs_of(path, options.out, network.C)
            files.replace(
                {
                    output: wav(estimate, rate)
                    for output, estimate in zip(outputs, estimates, strict=True)
                }
            )
            line = f"{path}: {seconds:.1f} s → {', '.join(map(str, outputs))}"
            tqdm.write(os.fsencode(line).decode(errors="replace"))  # a name may be no UTF-8
            sys.stdout.flush()


if __name__ == "__main__":
    main()
