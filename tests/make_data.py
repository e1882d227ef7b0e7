"""Makes the data the tests share, by the pipeline's own stages: `python -m tests.make_data DIR`.

The embedded audio, with fewer speech mixtures than the mini preset has.
"""

import os
import shutil
from pathlib import Path

from contract.arguments import Parser
from stages import csv_music, csv_speech, fetch_music, fetch_speech, mix_speech
from tests.yaml_files import read_yaml, write_yaml


def main(root: Path) -> None:
    params = read_yaml(Path("params.yaml"))
    params["speech"]["mixtures"] = {"train": 6, "valid": 2, "test": 2}
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    shutil.copytree("conf/speech", root / "conf" / "speech")
    os.chdir(root)  # the lists' paths are relative to their workspace
    write_yaml(Path("params.yaml"), params)
    for stage in (fetch_music, csv_music, fetch_speech, mix_speech, csv_speech):
        stage.main()


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="of the data; made anew")
    main(parser.parse_args().folder)
