"""The lists that the trainers read: rows by their columns, and what is refused."""

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from contract.errors import InputError
from contract.lists import MAKE_LIST, check_distinct, read_rows

COLUMNS = ("mix_path", "length")


@pytest.fixture
def read(tmp_path):
    """A function that reads a list with this content."""

    def read(content: str | bytes) -> list[tuple[int, dict[str, str]]]:
        path = tmp_path / "list.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_rows(path, COLUMNS, "make another list")

    return read


def test_rows_have_their_line_and_their_fields_in_any_order_of_the_columns(read):
    first, second = {"mix_path": "ä.wav", "length": "1"}, {"mix_path": "b, c.wav", "length": "2"}
    expected = [(2, first), (4, second)]
    assert read('mix_path,length\nä.wav,1\n\n"b, c.wav",2\n') == expected
    assert read('length,mix_path\r\n1,ä.wav\r\n\r\n2,"b, c.wav"') == expected


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", f"{{path}}: has no header; {MAKE_LIST}"),
        ("\na.wav,1", f"{{path}}: has no header; {MAKE_LIST}"),
        ("mix_path,length\n\n", f"{{path}}: has no rows; {MAKE_LIST}"),
        (
            "mix_path,length,rate\na.wav,1,2\n",
            "{path}: has the columns mix_path,length,rate instead of mix_path,length; "
            "make another list",
        ),
        ("mix_path,length\na.wav\n", f"{{path}}, line 2: has 1 fields instead of 2; {MAKE_LIST}"),
        ("mix_path,length\na,1,,\n", f"{{path}}, line 2: has 4 fields instead of 2; {MAKE_LIST}"),
        (b"RIFF\xff\xfe", f"{{path}}: is not a CSV file (*); {MAKE_LIST}"),
        ('mix_path,length\n"a.wav,1\n', f"{{path}}: is not a CSV file (*); {MAKE_LIST}"),
    ],
)
def test_a_bad_list_is_refused(read, tmp_path, content, line):
    with pytest.raises(InputError) as refused:
        read(content)
    expected = line.format(path=tmp_path / "list.csv")
    assert fnmatchcase(str(refused.value), expected), refused.value


def test_a_missing_list_is_refused():
    with pytest.raises(InputError) as refused:
        read_rows(Path("no.csv"), COLUMNS)
    assert str(refused.value) == (
        "no.csv: there is no such file; make the lists with `dvc repro`, or correct the path"
    )


def test_a_name_that_occurs_twice_is_refused():
    check_distinct(Path("list.csv"), "track", ["a", "b", "A"])
    with pytest.raises(InputError) as refused:
        check_distinct(Path("list.csv"), "track", ["a", "b", "c", "b"])
    assert str(refused.value) == (
        "list.csv: lists the track b twice; remove one of the two, or rename it"
    )
