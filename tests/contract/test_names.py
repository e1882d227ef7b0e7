"""Names of files: how long they may be, and which characters they may have."""

import os
from pathlib import Path

import pytest

from contract import names
from contract.errors import BadFilesError, InputError
from contract.names import check_names, too_long_error
from studies import comparison


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def message_of(paths, suffix: str = "") -> str:
    """The message with which names are refused."""
    with pytest.raises(BadFilesError) as caught:
        check_names(paths, suffix)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("n" * 255, ""),
        ("n" * 250, ".json"),
        ("ü" * 125, ".json"),
        ('Song, "quoted" & <b>', ""),
        ("NA", ""),
        (" at both ends ", ""),
        ("Cafe\u0301 \u202f5 PM", ""),  # as macOS writes it
    ],
)
def test_a_name_that_files_can_have_is_accepted(folder, name, suffix):
    (folder / f"{name}{suffix}").touch()
    check_names([folder / name], suffix)


@pytest.mark.parametrize(
    ("name", "suffix", "message"),
    [
        (
            "n" * 256,
            "",
            "{path}: its name has 256 bytes, and at most 255 are possible; shorten it",
        ),
        (
            "n" * 251,
            ".json",
            "{path}: its name has 251 bytes, and at most 250 are possible, as files named after it "
            "end in .json; shorten it",
        ),
        (
            "ü" * 126,
            ".json",
            "{path}: its name has 252 bytes, and at most 250 are possible, as files named after it "
            "end in .json; shorten it",
        ),
        ("a\nb", "", "'{folder}/a\\nb': its name holds a control character; rename it"),
        ("a\tb", "", "'{folder}/a\\tb': its name holds a control character; rename it"),
        ("a\u2028b", "", "'{folder}/a\\u2028b': its name holds a line separator; rename it"),
        ("a\u2029b", "", "'{folder}/a\\u2029b': its name holds a paragraph separator; rename it"),
        (
            os.fsdecode(b"caf\xe9"),
            "",
            "'{folder}/caf\\udce9': its name is not UTF-8; rename it",
        ),
    ],
)
def test_a_name_that_files_cannot_have_is_refused_in_one_line(folder, name, suffix, message):
    refusal = message_of([folder / "good", folder / name], suffix)
    assert refusal == message.format(folder=folder, path=folder / name)
    refusal.encode()  # it can be printed


def test_ten_bad_names_are_reported_and_the_others_counted(folder):
    lines = message_of(folder / f"{number}\n" for number in range(12)).split("\nERROR: ")
    assert lines == [
        *(
            f"'{folder}/{number}\\n': its name holds a control character; rename it"
            for number in range(10)
        ),
        "and 2 more",
    ]


def test_the_limit_is_that_of_the_file_system(folder, monkeypatch):
    """Where files are encrypted one by one, the longest names have 143 bytes."""
    monkeypatch.setattr(names.os, "pathconf", lambda path, name: 143)
    check_names([folder / ("n" * 143)])
    path = folder / ("n" * 144)
    assert message_of([path]) == (
        f"{path}: its name has 144 bytes, and at most 143 are possible; shorten it"
    )


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (f"{'b' * 300}/c", "a name in this path has 300 bytes, and at most 255 are possible"),
        ("/abc" * 1100, "this path has 4400 bytes, and at most 4095 are possible"),
    ],
    ids=["name", "path"],
)
def test_an_error_measures_a_path_that_the_system_calls_too_long(folder, path, problem):
    with pytest.raises(OSError, match="File name too long"):
        os.stat(path)
    assert str(too_long_error(path)) == f"{path}: {problem}; shorten it"


def test_the_longest_path_is_not_too_long_for_the_system(folder):
    path = "/abc" * 1023 + "/ab"
    assert len(path) == 4095
    with pytest.raises(FileNotFoundError):
        os.stat(path)
    with pytest.raises(OSError, match="File name too long"):
        os.stat(f"{path}c")


@pytest.mark.parametrize(
    ("out", "problem"),
    [
        ("n" * 256, "its name has 256 bytes, and at most 255 are possible"),
        (
            f"{'n' * 248}.html",
            "its name has 248 bytes, and at most 247 are possible, as files named after it end in "
            "_figures",
        ),
    ],
)
def test_a_comparison_with_too_long_a_name_is_refused_before_it_reads_anything(
    folder, out, problem
):
    with pytest.raises(InputError) as caught:
        comparison.write_comparison(["no-such-experiment"], None, Path("reports", out))
    assert str(caught.value) == f"reports/{out}: {problem}; shorten it"


def test_a_comparison_may_have_the_longest_possible_name(folder, monkeypatch):
    monkeypatch.setattr(comparison.revisions, "read", lambda *_: [])
    monkeypatch.setattr(comparison, "summary", lambda experiments: None)
    monkeypatch.setattr(comparison, "heard", lambda *_: {"experiment": []})
    monkeypatch.setattr(comparison, "variant_of", lambda *_: "")
    monkeypatch.setattr(comparison, "compare", lambda *_: "page")
    monkeypatch.setattr(comparison.images, "browser", lambda: "a browser")
    monkeypatch.setattr(comparison.images, "write", lambda page, folder: folder.mkdir() or 0)
    out = Path(f"{'n' * 247}.html")
    comparison.write_comparison([], None, out)
    assert out.read_text() == "page"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [out.name, f"{out.stem}_figures", f"{out.stem}_tables"]
    )
