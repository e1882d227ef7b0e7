"""Train SVoice: `python -m svoice.train optimizer=adam svoice=mini`, and as the pipeline does
`python -m svoice.train --params params.yaml --scratch DIR`.

Killed at any moment, the same command goes on from the last checkpoint. `--help` tells more.
"""

import sys
from pathlib import Path

from svoice import distributed, standalone
from svoice.arguments import Parser
from svoice.errors import one_line
from svoice.layout import LISTS, MODEL, RESULTS
from svoice.params import read_params
from svoice.training import Places, Training


@one_line
def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    with distributed.processes():
        if any(argument.startswith(("--params", "--scratch")) for argument in arguments):
            train_in_pipeline(arguments)
        else:
            sys.argv[1:] = arguments  # where Hydra looks
            standalone.run()


def train_in_pipeline(arguments):
    """Train as a params.yaml says that the pipeline has composed and checked."""
    parser = Parser(__doc__)
    parser.add_argument("--params", required=True, metavar="FILE", help="the configuration")
    parser.add_argument(
        "--scratch",
        required=True,
        metavar="DIR",
        type=Path,
        help="where the unfinished training lives, and is found again after an interruption",
    )
    options = parser.parse_args(arguments)
    places = Places(LISTS, MODEL, RESULTS, options.scratch)
    Training(read_params(options.params), places).complete()


if __name__ == "__main__":
    main()
