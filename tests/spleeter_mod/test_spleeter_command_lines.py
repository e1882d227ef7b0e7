"""Every command of the patched Spleeter has a help, and refuses unknown options."""

import pytest

from tests.command_lines import check, first_line, runnable

OTHER_TEXTS = {"spleeter_mod": "Spleeter with a choice of optimizers"}  # above its commands


@pytest.mark.parametrize("module", runnable("spleeter_mod"))
def test_every_module_has_a_help_and_refuses_unknown_options(module, tmp_path):
    check(module, tmp_path, OTHER_TEXTS.get(module) or first_line(module))


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("train", "Train a source separation model."),
        ("separate", "Separate audio file(s)"),
        ("evaluate", "Evaluate a model on the musDB test dataset"),
    ],
)
def test_every_command_has_a_help_and_refuses_unknown_options(command, text, tmp_path):
    check(f"spleeter_mod {command}", tmp_path, text)
