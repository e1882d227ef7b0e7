"""Settings reach configuration.yaml as users write them, or one line says how to write them."""

import shlex
import subprocess

import pytest
from dvc.utils.hydra import compose_and_dump
from dvc.utils.serialize import load_yaml

from contract.errors import InputError
from studies.overrides import check_choices, check_setting, quoted, setting, split_settings
from tests.conftest import ROOT, shell_environment

VALUES = [
    *("/data/my, set", "/it's", '/a"b', "/a=b|c", "/Übung/音", "/a\\b", '/a\\"b', "/a#b", "/a: b"),
    *("/a${HOME}", "/a(b)[c]{d}", "~/songs", "/a&b;c", "/%20", "1e3", "null", "true", "[a,b]"),
    *(" a ", "-", "a\\"),
]


@pytest.mark.parametrize("value", VALUES)
def test_the_quoting_that_errors_advise_works(tmp_path, value):
    (setting,) = shlex.split(quoted("music.path", value))
    assert split_settings(f"seed=1 {setting} svoice.N=8") == ["seed=1", setting, "svoice.N=8"]
    check_setting(setting)
    output, conf = tmp_path / "configuration.yaml", str(ROOT / "conf")
    compose_and_dump(output, conf, None, "config", str(tmp_path), ["music=folder", setting])
    assert load_yaml(output)["music"]["path"] == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[(value, str(value)) for value in ("adam", "/my songs", "[a,b]", 3, 1e-5, "", "true")],
        *[(True, "true"), (False, "false"), (None, "null"), ('"a, b"', '"a, b"')],
        *[("a, b", '"a, b"'), ("/a=b", '"/a=b"'), ("/ä", '"/ä"'), ('a", b', r'"a\", b"')],
        *[("a,\\", r'"a,\\"'), ("choice(a,b)", '"choice(a,b)"')],
    ],
)
def test_a_value_is_quoted_only_if_hydra_reads_no_single_value_in_it(value, text):
    assert setting("music.path", value, "FILE") == f"music.path={text}"
    read = check_setting(f"music.path={text}").value()
    if text == f'"{value!s}"' or not isinstance(value, str):
        assert read == value and type(read) is type(value)


@pytest.mark.parametrize("value", VALUES)
def test_make_passes_settings_on_unchanged(value):
    (setting,) = shlex.split(quoted("music.path", value))
    text = f"seed=1 {setting}"
    done = subprocess.run(
        ["make", "--dry-run", "study", f"SET={text}"],
        cwd=ROOT,
        env=shell_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    command = shlex.split(done.stdout.splitlines()[-1])
    assert command[:3] == ["python", "-m", "studies.study"]
    assert command[-2:] == ["--settings", text]


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", []),
        ("  a=1   b=2 ", ["a=1", "b=2"]),
        ("a=[x, y] b={c: 1, d: 2}", ["a=[x, y]", "b={c: 1, d: 2}"]),
        ("a='x y' b=\"it's\" c='say \"x\"'", ["a='x y'", 'b="it\'s"', "c='say \"x\"'"]),
        (r'a="x \" y" b=1', [r'a="x \" y"', "b=1"]),
    ],
)
def test_settings_are_split_at_spaces_outside_of_quotes(text, settings):
    assert split_settings(text) == settings


def test_a_quotation_mark_that_is_not_closed_is_one_line():
    with pytest.raises(InputError) as caught:
        split_settings("speech.path=/it's")
    assert str(caught.value) == (
        "SET: a quotation mark is not closed in speech.path=/it's; "
        "add the second '; within quotes, write \\' for the mark itself"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "set",
            "'set' is not a setting; write KEY=VALUE, a value with spaces in quotes: 'KEY=\"a b\"'",
        ),
        (
            "=3",
            "'=3' is not a setting; write KEY=VALUE, a value with spaces in quotes: 'KEY=\"a b\"'",
        ),
        (
            "music.path=/a=b",
            "Hydra cannot read music.path=/a=b; put its value in quotes: 'music.path=\"/a=b\"'",
        ),
        (
            "music.path=/ä",
            "Hydra cannot read music.path=/ä; put its value in quotes: 'music.path=\"/ä\"'",
        ),
        (
            "optimizer=adam,sgd",
            "optimizer=adam,sgd gives several values; give one; if a comma is part of it, put it "
            "in quotes: 'optimizer=\"adam,sgd\"'",
        ),
    ],
)
def test_what_is_not_one_setting_is_one_line(text, message):
    with pytest.raises(InputError) as caught:
        check_setting(text, "SET")
    assert str(caught.value) == f"SET: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "optimizer=[adam,sgd]",
            "optimizer: [adam,sgd] is a list, not a choice; "
            "choose one, or queue one experiment each: `--queue -S 'optimizer=adam,sgd'`",
        ),
        (
            "~optimizer",
            "~optimizer: an experiment needs a choice of optimizer; choose one: optimizer=NAME",
        ),
        ("optimizer=null", "optimizer: found null, expected the name of a choice"),
        ("optimizer=3", "optimizer: found 3, expected the name of a choice"),
    ],
)
def test_what_is_not_one_choice_is_one_line(text, message):
    with pytest.raises(InputError) as caught:
        check_choices(["seed=[1,2]", "schedule=step", text], ["optimizer", "schedule"])
    assert str(caught.value) == message
