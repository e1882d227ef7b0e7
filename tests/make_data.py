"""Makes the data that the tests share: `python -m tests.make_data DIR`.

The pipeline's own stages make them from the embedded audio: a few mixtures of all voices.
"""

import os
import shutil
from pathlib import Path

from contract.arguments import Parser
from stages import csv_music, csv_speech, fetch_music, fetch_speech, mix_speech
from tests.yaml_files import read_yaml, write_yaml


def main(root: Path) -> None:
    """Makes the data in a folder, in place of an earlier one.

    Args:
        root: the folder.
    """
    params = read_yaml(Path("configuration.yaml"))
    speech = params["speech"]
    more = read_yaml(Path("conf/speech/prompts.yaml"))
    speech["name"] = more["name"]
    speech["voices"] |= more["voices"]
    speech["mixtures"] = {"train": 6, "valid": 2, "test": 2}
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    shutil.copytree("conf/speech", root / "conf" / "speech")
    os.chdir(root)  # the lists' paths are relative to their workspace
    write_yaml(Path("configuration.yaml"), params)
    for stage in (fetch_music, csv_music, fetch_speech, mix_speech, csv_speech):
        stage.main()


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="of the data; it is replaced")
    main(parser.parse_args().folder)
