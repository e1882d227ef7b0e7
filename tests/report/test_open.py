"""A page is opened in a browser, and its address printed."""

import sys
import webbrowser

import pytest

from report import open as opening


def test_the_page_is_opened_and_its_address_printed(tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    page = tmp_path / "a page.html"
    page.write_text("<html></html>")
    monkeypatch.setattr(sys, "argv", ["report.open", str(page)])
    opening.main()
    address = f"file://{tmp_path}/a%20page.html"
    assert (capsys.readouterr().out, opened) == (f"{address}\n", [address])


def test_a_page_that_is_not_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["report.open", str(tmp_path / "page.html")])
    with pytest.raises(SystemExit) as end:
        opening.main()
    problem = "there is no such page; make it with `make repro` or `make report`"
    assert end.value.code == f"ERROR: {tmp_path}/page.html: {problem}"
