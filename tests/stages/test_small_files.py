"""Small files from the web, which experiments side by side fetch through the same folder."""

import subprocess
import sys

from stages import small_files
from tests.stages.patience import SECONDS, line
from tests.stages.server import Served, Server
from tests.stages.workspaces import environment

READ = """
import sys
from stages import small_files
sys.stdout.buffer.write(small_files.read("f.wav", None, sys.argv[1], None, "key", "a file"))
"""


def test_who_reads_the_same_file_meanwhile_does_not_remove_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    download = small_files.download
    others = []

    def read_by_another(address, checksum):
        path = download(address, checksum)
        command = [sys.executable, "-c", READ, address.rpartition("/")[0]]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        others.append(subprocess.Popen(command, env=environment(), text=True, **pipes))
        line(others[0].stderr)  # it waits, or has ended
        return path

    monkeypatch.setattr(small_files, "download", read_by_another)
    with Server() as server:
        server.files["f.wav"] = Served(b"content")
        address = server.url("f.wav").rpartition("/")[0]
        assert small_files.read("f.wav", None, address, None, "key", "a file") == b"content"
        assert others[0].communicate(timeout=SECONDS)[0] == "content"
    assert others[0].returncode == 0
