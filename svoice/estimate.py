"""Separate the test mixtures: `python -m svoice.estimate --params configuration.yaml`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import torch
from tqdm import tqdm

from contract.arguments import Parser
from contract.errors import InputError, one_line
from contract.files import new_folder
from contract.layout import ESTIMATES, SPEECH_TEST, SVOICE_MODEL, SVOICE_RESULTS
from contract.lists import check_distinct
from contract.sources import speaker
from contract.wav import FloatWav
from svoice.checkpoint import load_model
from svoice.data import read_audio, read_list
from svoice.devices import WEIGHTS, WHOLE_MIXTURE, default_device, memory_errors_explained
from svoice.network import SVoice
from svoice.params import Params


def load_fitting_model(params: Params) -> SVoice:
    """Reads the trained network, in evaluation mode.

    Args:
        params: the parameters that it must fit.

    Raises:
        InputError: there is no network, or it was trained for another number of speakers or
            another sample rate.
    """
    network = load_model(SVOICE_MODEL)
    for key, name in (("speakers", "C"), ("sample_rate", "sample_rate")):
        trained, wanted = network.configuration[name], getattr(params, key)
        if trained != wanted:
            raise InputError(
                SVOICE_MODEL,
                f"was trained for speech.{key} = {trained}, but configuration.yaml has {wanted}",
                "train it again, or set the value that it was trained for",
            )
    return network


@torch.inference_mode()
def estimate(params: Params) -> None:
    """Separates all test mixtures.

    Writes results/svoice/estimates/{s1,s2,…}/<file name of the mixture>, 32-bit float WAV, once all
    mixtures are separated.

    Args:
        params: the parameters that the network must fit.

    Raises:
        InputError: the network, the list or an audio file is missing or wrong, or the memory does
            not suffice.
        OSError: an estimate cannot be written.
    """
    device = default_device()
    with memory_errors_explained(SVOICE_MODEL, *WEIGHTS):
        network = load_fitting_model(params).to(device)
    items = read_list(SPEECH_TEST, params.speakers, params.sample_rate)
    check_distinct(SPEECH_TEST, "file", [Path(item.mixture).name for item in items])
    with new_folder(SVOICE_RESULTS / ESTIMATES) as folder:
        for number in range(1, network.C + 1):
            (folder / speaker(number)).mkdir()
        for item in tqdm(items, unit="mixture", disable=not sys.stderr.isatty()):
            with memory_errors_explained(item.mixture, *WHOLE_MIXTURE):
                mixture = torch.from_numpy(read_audio(item.mixture, 0, item.length))
                outputs = network(mixture.unsqueeze(0).to(device))
                estimates = outputs[-1, 0].cpu().numpy()
            for number, samples in enumerate(estimates, 1):
                path = folder / speaker(number) / Path(item.mixture).name
                with closing(FloatWav(path, params.sample_rate, 1, len(samples))) as file:
                    file.write(samples.astype("<f4").tobytes())


@one_line
def main(arguments: Sequence[str] | None = None) -> None:
    """Separates the test mixtures as the command line says.

    Args:
        arguments: the arguments of the command line, by default those of this process.
    """
    parser = Parser(__doc__)
    parser.add_params()
    options = parser.parse_args(arguments)
    estimate(Params.read(options.params))


if __name__ == "__main__":
    main()
