"""WSJ0-mix's published recipes over a licensed copy of WSJ0.

The recipes and speech levels are those of the repository mpariente/pywsj0-mix, as the original
scripts used them.
"""

from pathlib import Path

from metrics.errors import InputError
from stages import small_files
from stages.checksums import list_sha256, read_checksums
from stages.corpus import find, write_index
from stages.given import given
from stages.outputs import directory
from stages.params import WSJ0Mix
from stages.recipes import utterances_of
from stages.wsj0mix import LEVELS, SPLITS, list_name, read_levels, read_recipes

CHECKSUMS = Path("conf/speech/wsj0mix.sha256")  # of the lists for two speakers and the levels
LEVEL_LISTS = tuple(f"activlev/activlev_si_{part}.txt" for part in ("tr_s", "dt_05", "et_05"))


def fetch(speech: WSJ0Mix, corpus: Path, recipes: Path) -> None:
    """Writes the recipe and level lists, their checksums, and the index of the utterances.

    Raises:
        InputError: no corpus, utterances that are not in it, lists that cannot be had, are others
            than known, or have a line that is no recipe.
    """
    root = corpus_folder(speech)
    known = read_checksums(CHECKSUMS.read_text())
    with directory(recipes) as lists, directory(corpus) as index:
        for name in [*(list_name(speech.speakers, split) for split in SPLITS), *LEVEL_LISTS]:
            path = lists / name
            path.parent.mkdir(exist_ok=True)
            content = small_files.read(
                name,
                speech.lists,
                speech.url,
                known.get(name),
                "speech.lists",
                "a list of WSJ0-mix",
            )
            path.write_bytes(content)
        (lists / "sha256.txt").write_text(list_sha256(lists))
        (lists / LEVELS).write_bytes(b"".join((lists / name).read_bytes() for name in LEVEL_LISTS))
        for name in LEVEL_LISTS:
            read_levels(lists / name)
        drawn = {
            split: read_recipes(lists / list_name(speech.speakers, split), speech.speakers)
            for split in SPLITS
        }
        write_index(find(root, utterances_of(drawn)), index)


def corpus_folder(speech: WSJ0Mix) -> Path:
    """The folder that the recipes' paths start from.

    Raises:
        InputError: there is none.
    """
    root = given(speech.corpus)
    if not (root / "wsj0").is_dir():
        found = f"nothing like wsj0/si_tr_s in {root}" if root.is_dir() else f"no folder {root}"
        expected = "your copy of WSJ0 (LDC93S6A), the folder that holds wsj0/si_tr_s and so on"
        raise InputError("speech.corpus", found, expected)
    return root
