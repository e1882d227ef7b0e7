"""Train SVoice: `python -m svoice.train optimizer=adam svoice=mini`, and as the pipeline does
`python -m svoice.train --params configuration.yaml --scratch DIR`.

When the training is interrupted, the same command resumes it from the last checkpoint. `--help`
describes both ways.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from contract.arguments import Parser
from contract.errors import one_line
from contract.layout import SPEECH_LISTS, SVOICE_MODEL, SVOICE_RESULTS
from svoice import distributed, standalone
from svoice.params import Params
from svoice.training import Places, Training


@one_line
def main(arguments: Sequence[str] | None = None) -> None:
    """Trains as the command line says.

    Args:
        arguments: the arguments of the command line, by default those of this process.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    with distributed.process_group():
        if any(argument.startswith(("--params", "--scratch")) for argument in arguments):
            train_in_pipeline(arguments)
        else:
            sys.argv[1:] = arguments  # Hydra reads them there
            standalone.run()
    distributed.leave()


def train_in_pipeline(arguments: Sequence[str]) -> None:
    """Trains by a configuration.yaml that the pipeline has composed and checked.

    Args:
        arguments: the arguments of the command line.

    Raises:
        InputError: the configuration, a list or an audio file is wrong.
    """
    parser = Parser(__doc__)
    parser.add_params()
    parser.add_scratch()
    options = parser.parse_args(arguments)
    places = Places(SPEECH_LISTS, SVOICE_MODEL, SVOICE_RESULTS, options.scratch)
    Training(Params.read(options.params), places).complete()


if __name__ == "__main__":
    main()
