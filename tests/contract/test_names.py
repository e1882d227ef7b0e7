"""Names of files: how long they may be, and of what."""

import os
from pathlib import Path

import pytest

from contract import names
from contract.errors import BadFilesError, InputError
from contract.names import check_names, too_long
from studies import comparison


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "added"),
    [
        ("n" * 255, ""),
        ("n" * 250, ".json"),
        ("ü" * 125, ".json"),
        ('Song, "quoted" & <b>', ""),
        ("NA", ""),
        (" at both ends ", ""),
        ("Cafe\u0301 \u202f5 PM", ""),  # as a Mac writes them
    ],
)
def test_a_name_that_files_can_bear_is_let_through(folder, name, added):
    (folder / f"{name}{added}").touch()
    check_names([folder / name], added)


@pytest.mark.parametrize(
    ("name", "added", "message"),
    [
        ("n" * 256, "", "{path}: found a name of 256 bytes, expected at most 255"),
        (
            "n" * 251,
            ".json",
            "{path}: found a name of 251 bytes, expected at most 250, for the files named after it "
            "end in .json",
        ),
        ("ü" * 126, ".json", "{path}: found a name of 252 bytes, expected at most 250, "),
        ("a\nb", "", "'{folder}/a\\nb': found a control character in the name, expected one line"),
        ("a\tb", "", "'{folder}/a\\tb': found a control character in the name, expected one line"),
        ("a\u2028b", "", "'{folder}/a\\u2028b': found a line separator in the name, expected one"),
        (
            os.fsdecode(b"caf\xe9"),
            "",
            "'{folder}/caf\\udce9': found a name that is no UTF-8, expected one line of UTF-8",
        ),
    ],
)
def test_a_name_that_they_cannot_bear_is_one_line(folder, name, added, message):
    with pytest.raises(BadFilesError) as caught:
        check_names([folder / "good", folder / name], added)
    assert str(caught.value).startswith(message.format(folder=folder, path=folder / name))
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


def test_ten_bad_names_are_told_and_the_rest_counted(folder):
    with pytest.raises(BadFilesError) as caught:
        check_names(folder / f"{number}\n" for number in range(12))
    assert str(caught.value).count("a control character in the name") == 10
    assert str(caught.value).endswith("and 2 more")


def test_the_limit_is_the_file_systems(folder, monkeypatch):
    """Where files are encrypted one by one, names of 143 bytes are the longest."""
    monkeypatch.setattr(names.os, "pathconf", lambda path, name: 143)
    check_names([folder / ("n" * 143)])
    with pytest.raises(BadFilesError, match="found a name of 144 bytes, expected at most 143"):
        check_names([folder / ("n" * 144)])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"{'b' * 300}/c", "found a name of 300 bytes, expected at most 255"),
        ("/abc" * 1100, "found a path of 4400 bytes, expected fewer than 4096"),
    ],
)
def test_what_the_system_calls_too_long_is_measured(folder, path, message):
    with pytest.raises(OSError, match="File name too long"):
        os.stat(path)
    assert str(too_long(path)) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("n" * 256, "a name of 256 bytes, expected at most 255"),
        (
            f"{'n' * 248}.html",
            "a name of 248 bytes, expected at most 247, for the files named after it end in _figur",
        ),
    ],
)
def test_a_comparison_whose_name_is_too_long_is_refused_at_once(folder, out, message):
    with pytest.raises(InputError) as caught:
        comparison.write_comparison(["nothing is read"], None, Path("reports", out))
    assert str(caught.value).startswith(f"reports/{out}: found {message}")


def test_the_longest_name_of_a_comparison_is_borne(folder, monkeypatch):
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
        [out.name, f"{out.stem}_figures"]
    )
