"""Small files from the web, which experiments download side by side into the same folder."""

import subprocess
import sys

from stages.fetching import small_files
from tests.stages.patience import SECONDS, line
from tests.stages.server import Served, Server
from tests.stages.workspaces import environment

READ = """
import sys
from stages.fetching import small_files
sys.stdout.buffer.write(small_files.read("f.wav", None, sys.argv[1], None, "key", "the files"))
"""


def test_a_file_stays_until_the_process_that_downloaded_it_has_read_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    download = small_files.download
    others = []

    def download_while_another_process_reads(address, checksum):
        path = download(address, checksum)
        command = [sys.executable, "-c", READ, address.rpartition("/")[0]]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        others.append(subprocess.Popen(command, env=environment(), text=True, **pipes))
        message = line(others[0].stderr)
        assert message == f"waiting for {address} in another process\n"
        return path

    monkeypatch.setattr(small_files, "download", download_while_another_process_reads)
    with Server() as server:
        server.files["f.wav"] = Served(b"content")
        folder = server.url("f.wav").rpartition("/")[0]
        assert small_files.read("f.wav", None, folder, None, "key", "the files") == b"content"
        assert others[0].communicate(timeout=SECONDS)[0] == "content"
    assert others[0].returncode == 0
