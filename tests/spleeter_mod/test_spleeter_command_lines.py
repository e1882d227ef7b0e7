"""What can be run of the patched Spleeter helps when asked, and refuses what it does not know."""

import pytest

from tests.command_lines import check, first_line, runnable

OTHER_TEXTS = {"spleeter_mod": "Spleeter with a choice of optimizers"}  # of all its commands


@pytest.mark.parametrize("module", runnable("spleeter_mod"))
def test_every_module_helps_and_refuses(module, tmp_path):
    check(module, tmp_path, OTHER_TEXTS.get(module) or first_line(module))


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("train", "Train a source separation model."),
        ("separate", "Separate audio file(s)"),
        ("evaluate", "Evaluate a model on the musDB test dataset"),
    ],
)
def test_every_command_helps_and_refuses(command, text, tmp_path):
    check(f"spleeter_mod {command}", tmp_path, text)
