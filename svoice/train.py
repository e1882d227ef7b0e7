"""Train SVoice as params.yaml says: `python -m svoice.train --params params.yaml --scratch DIR`.

Killed at any moment, the same command with the same DIR goes on from the last checkpoint.
"""

import argparse
from pathlib import Path

from svoice import distributed
from svoice.devices import default_device as default_device
from svoice.errors import one_line
from svoice.params import read_params
from svoice.training import Places, train
from svoice.training import make_network as make_network

LISTS = Path("data/csv/speech")
MODEL = Path("models/svoice/model.pt")
RESULTS = Path("results/svoice")


@one_line
def main(arguments=None):
    parser = argparse.ArgumentParser(description="Train SVoice as a params.yaml says.")
    parser.add_argument("--params", required=True, metavar="FILE", help="the configuration")
    parser.add_argument(
        "--scratch",
        required=True,
        metavar="DIR",
        type=Path,
        help="where the unfinished training lives, and is found again after an interruption",
    )
    options = parser.parse_args(arguments)
    with distributed.processes():
        train(read_params(options.params), Places(LISTS, MODEL, RESULTS, options.scratch))


if __name__ == "__main__":
    main()
