"""Separate the test mixtures: `python -m svoice.estimate --params params.yaml`."""

import sys
from pathlib import Path

import torch
from tqdm import tqdm

from svoice import files
from svoice.arguments import Parser
from svoice.checkpoint import load_model
from svoice.data import read_audio, read_list, wav
from svoice.devices import default_device
from svoice.errors import InputError, one_line
from svoice.layout import LISTS, MODEL, RESULTS
from svoice.params import read_params


def load_fitting_model(params):
    """The trained network. Raises InputError when it was trained for other data."""
    network = load_model(MODEL)
    for key, name in (("speakers", "C"), ("sample_rate", "sample_rate")):
        found, expected = network.configuration[name], params["speech"][key]
        if found != expected:
            raise InputError(MODEL, f"a network for {key} = {found}", f"speech.{key} = {expected}")
    return network


def check_names(items, path):
    """Raise InputError where two mixtures' estimates would have the same name."""
    names = {}
    for item in items:
        name = Path(item.mixture).name
        if names.setdefault(name, item.mixture) != item.mixture:
            raise InputError(
                path, f"{names[name]} and {item.mixture}", "a file name of its own for each mixture"
            )


@torch.inference_mode()
def estimate(params):
    """Write results/svoice/estimates/{s1,s2,…}/<mixture file name>, 32-bit float WAV."""
    path = LISTS / "test.csv"
    rate = params["speech"]["sample_rate"]
    network = load_fitting_model(params).to(default_device())
    items = read_list(path, params["speech"]["speakers"], rate)
    check_names(items, path)
    with files.new_folder(RESULTS / "estimates") as folder:
        for speaker in range(1, network.C + 1):
            (folder / f"s{speaker}").mkdir()
        for item in tqdm(items, unit="mixture", disable=not sys.stderr.isatty()):
            mixture = torch.from_numpy(read_audio(item.mixture, 0, item.length))
            outputs = network(mixture.unsqueeze(0).to(default_device()))
            for speaker, samples in enumerate(outputs[-1, 0].cpu().numpy(), 1):
                name = folder / f"s{speaker}" / Path(item.mixture).name
                files.write(name, wav(samples, rate))


@one_line
def main(arguments=None):
    parser = Parser(__doc__)
    parser.add_argument("--params", required=True, metavar="FILE", help="the configuration")
    options = parser.parse_args(arguments)
    estimate(read_params(options.params))


if __name__ == "__main__":
    main()
