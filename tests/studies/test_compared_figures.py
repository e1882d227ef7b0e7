"""The tables and figures beside a page: all of them, or none."""

from pathlib import Path

import pytest

from studies import comparison

OUT = Path("reports/own.html")


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page about no experiments, of which an earlier version has figures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comparison.revisions, "read", lambda *_: [])
    monkeypatch.setattr(comparison, "summary", lambda experiments: None)
    monkeypatch.setattr(comparison, "heard", lambda *_: {"experiment": []})
    monkeypatch.setattr(comparison, "variant_of", lambda *_: "")
    monkeypatch.setattr(comparison, "compare", lambda *_: "new")
    monkeypatch.setattr(comparison.images, "browser", lambda: "a browser")
    (tmp_path / "reports" / "own_figures").mkdir(parents=True)
    (tmp_path / "reports" / "own_figures" / "01-old.png").write_text("old")
    OUT.write_text("old")


def written() -> dict[str, str]:
    """The text of every file beside the page, by its path."""
    return {
        str(path.relative_to("reports")): path.read_text()
        for path in Path("reports").rglob("*")
        if path.is_file()
    }


def test_the_figures_of_an_earlier_page_are_replaced(page, monkeypatch, capsys):
    def draw(page, folder):
        folder.mkdir()
        (folder / "01-new.png").write_text(page)
        return 1

    monkeypatch.setattr(comparison.images, "write", draw)
    comparison.write_comparison([], None, OUT)
    assert written() == {"own.html": "new", "own_figures/01-new.png": "new"}
    assert Path("reports/own_tables").is_dir()
    assert capsys.readouterr().out.splitlines() == [
        "reports/own.html: 0 experiments",
        "reports/own_tables: 0 tables, the data, and the methods in words",
        "reports/own_figures: 1 figures, as PNG and SVG",
    ]


def test_a_browser_that_fails_leaves_no_figures_beside_the_new_page(page, monkeypatch):
    def fail(page, folder):
        folder.mkdir()
        (folder / "01-new.png").write_text(page)
        raise RuntimeError("the browser has crashed")

    monkeypatch.setattr(comparison.images, "write", fail)
    with pytest.raises(RuntimeError, match="the browser has crashed"):
        comparison.write_comparison([], None, OUT)
    assert written() == {"own.html": "new"}
    assert set(Path("reports").iterdir()) == {OUT, Path("reports/own_tables")}
