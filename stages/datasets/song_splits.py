"""Which songs to train on, to validate on, and to test on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from contract.errors import InputError
from stages.datasets.musdb_folder import SPLITS, song_folders


def split_songs(
    root: Path, validation_tracks: Sequence[str] | None, allow_missing: bool
) -> dict[str, list[Path]]:
    """Divides the songs into those to train on, to validate on, and to test on.

    Args:
        root: the folder that holds train/ and test/.
        validation_tracks: the songs of train/ to validate on; None takes the last tenth of them by
            name, at least one.
        allow_missing: whether it is enough if one of the validation tracks is there.

    Returns:
        The songs' folders, sorted by name, for `train`, `valid` and `test`.

    Raises:
        InputError: a split has no songs, a validation track is missing, or a song's name cannot
            become the name of a file of scores.
    """
    train, test = (song_folders(root / split) for split in SPLITS)
    if validation_tracks is None:
        valid = train[-max(1, len(train) // 10) :]
    else:
        valid = [song for song in train if song.name in validation_tracks]
        names = {song.name for song in valid}
        missing = [name for name in validation_tracks if name not in names]
        if missing and not (allow_missing and valid):
            raise InputError(
                root / "train" / missing[0],
                "there is no such song",
                "add it, or change music.validation_tracks",
            )
    rest = [song for song in train if song not in valid]
    if not rest:
        raise InputError(root / "train", "has only songs to validate on", "add songs to train on")
    return {"train": rest, "valid": valid, "test": test}
