"""Every module of SVoice that can be run has a help, and refuses unknown options."""

import pytest

from tests.command_lines import check, first_line, runnable

OTHER_TEXTS = {"svoice.train": "Train SVoice, in one of two ways."}  # of Hydra, from conf/


@pytest.mark.parametrize("module", runnable("svoice"))
def test_every_module_has_a_help_and_refuses_unknown_options(module, tmp_path):
    check(module, tmp_path, OTHER_TEXTS.get(module) or first_line(module))
