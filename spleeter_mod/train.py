"""Train Spleeter: `python -m spleeter_mod.train --params configuration.yaml --scratch DIR`.

When the training is interrupted, the same command with the same DIR resumes it from the last
checkpoint. The spectrograms of the songs are in the folder `cache` beside DIR, for all runs on the
same audio.
"""

from __future__ import annotations

from collections.abc import Sequence

from contract.arguments import Parser
from contract.errors import one_line
from contract.layout import MUSIC_LISTS, list_file
from spleeter_mod import tracks
from spleeter_mod.settings import Settings


@one_line
def main(arguments: Sequence[str] | None = None) -> None:
    """Trains as the command line says.

    Args:
        arguments: the arguments of the command line, by default those of this process.
    """
    parser = Parser(__doc__)
    parser.add_params()
    parser.add_scratch()
    options = parser.parse_args(arguments)
    settings = Settings.read(options.params)
    rate = settings.sample_rate
    train = tracks.read(MUSIC_LISTS / list_file("train"), rate, settings.train_seconds)
    valid = tracks.read(MUSIC_LISTS / list_file("valid"), rate, settings.valid_seconds)
    options.scratch.mkdir(parents=True, exist_ok=True)

    # TensorFlow takes seconds to import, so it is imported after all checks.
    from spleeter_mod import training

    folder = options.scratch.absolute().parent / "cache"
    caches = training.cache_places(settings, train, valid, (folder, folder))
    training.train(settings, training.Places(train, valid, options.scratch, caches))


if __name__ == "__main__":
    main()
