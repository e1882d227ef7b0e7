"""What can be run of SVoice helps when asked, and refuses what it does not know."""

import pytest

from tests.command_lines import check, first_line, runnable

OTHER_TEXTS = {"svoice.train": "Train SVoice, in one of two ways."}  # Hydra's, from conf/


@pytest.mark.parametrize("module", runnable("svoice"))
def test_every_module_helps_and_refuses(module, tmp_path):
    check(module, tmp_path, OTHER_TEXTS.get(module) or first_line(module))
