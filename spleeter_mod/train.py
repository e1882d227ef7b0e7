"""Train Spleeter: `python -m spleeter_mod.train --params params.yaml --scratch DIR`.

Killed at any moment, the same command with the same DIR goes on from the last checkpoint. What is
stored of the songs lies beside DIR, in the folder `cache`, for all runs on the same audio.
"""

from pathlib import Path

from spleeter_mod import tracks
from spleeter_mod.arguments import Parser
from spleeter_mod.errors import one_line
from spleeter_mod.settings import Settings


@one_line
def main(arguments=None):
    parser = Parser(__doc__)
    parser.add_argument("--params", type=Path, required=True, help="the composed params.yaml")
    parser.add_argument("--scratch", type=Path, required=True, help="folder of unfinished work")
    options = parser.parse_args(arguments)
    settings = Settings.read(options.params)
    rate = settings.sample_rate
    train = tracks.read(tracks.LISTS / "train.csv", rate, settings.train_seconds)
    valid = tracks.read(tracks.LISTS / "valid.csv", rate, settings.valid_seconds)
    options.scratch.mkdir(parents=True, exist_ok=True)

    from spleeter_mod import training  # TensorFlow takes its time: after all checks

    folder = options.scratch.absolute().parent / "cache"
    caches = training.cache_places(settings, train, valid, (folder, folder))
    training.train(settings, training.Work(train, valid, options.scratch, caches))


if __name__ == "__main__":
    main()
