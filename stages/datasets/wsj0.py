"""WSJ0-mix's published recipes over a licensed copy of WSJ0.

The recipes and speech levels are those of the repository mpariente/pywsj0-mix, which has them from
the original scripts.
"""

from __future__ import annotations

from pathlib import Path

from contract.errors import InputError
from contract.files import new_folder
from contract.layout import CONF, configured_path
from contract.params import WSJ0Mix
from stages.datasets.corpus import find_utterances, write_index
from stages.datasets.recipes import utterances_of
from stages.datasets.wsj0mix import LEVELS, SPLITS, list_name, read_levels, read_recipes
from stages.fetching import small_files
from stages.fetching.checksums import list_sha256, read_checksums

# The checksums of the levels and of the lists for two speakers.
CHECKSUMS = CONF / "speech" / "wsj0mix.sha256"
LEVEL_LISTS = tuple(f"activlev/activlev_si_{part}.txt" for part in ("tr_s", "dt_05", "et_05"))


def fetch(speech: WSJ0Mix, corpus: Path, recipes: Path) -> None:
    """Writes the recipe and level lists, their checksums, and the index of the utterances.

    Args:
        speech: the configuration.
        corpus: the new folder of the index.
        recipes: the new folder of the lists.

    Raises:
        InputError: there is no corpus, it lacks utterances, or lists are missing, cannot be
            downloaded, have another checksum than the published ones, or a line of another form.
    """
    root = corpus_folder(speech)
    checksums = read_checksums(CHECKSUMS.read_text())
    with new_folder(recipes) as lists, new_folder(corpus) as index:
        for name in [*(list_name(speech.speakers, split) for split in SPLITS), *LEVEL_LISTS]:
            path = lists / name
            path.parent.mkdir(exist_ok=True)
            content = small_files.read(
                name,
                speech.lists,
                speech.url,
                checksums.get(name),
                key="speech.lists",
                description="the lists of WSJ0-mix",
            )
            path.write_bytes(content)
        (lists / "sha256.txt").write_text(list_sha256(lists))
        (lists / LEVELS).write_bytes(b"".join((lists / name).read_bytes() for name in LEVEL_LISTS))
        for name in LEVEL_LISTS:  # one by one, so that an error names the published list
            read_levels(lists / name)
        published = {
            split: read_recipes(lists / list_name(speech.speakers, split), speech.speakers)
            for split in SPLITS
        }
        write_index(find_utterances(root, utterances_of(published)), index)


def corpus_folder(speech: WSJ0Mix) -> Path:
    """Returns the folder that the recipes' paths start from.

    Args:
        speech: the configuration.

    Raises:
        InputError: there is no such folder, or it holds no wsj0/.
    """
    root = configured_path(speech.corpus)
    if not (root / "wsj0").is_dir():
        problem = f"there is no wsj0/ in {root}" if root.is_dir() else f"there is no folder {root}"
        remedy = "set it to your copy of WSJ0 (LDC93S6A), the folder that holds wsj0/si_tr_s"
        raise InputError("speech.corpus", problem, remedy)
    return root
