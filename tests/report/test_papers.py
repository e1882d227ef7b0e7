"""What a page leaves for papers: tables as LaTeX, and the paragraph about the methods."""

import re

import pandas as pd
import pytest
import scipy

from report import latex, methods, papers
from report.comparison import compare
from report.experiments import summary
from report.markup import download, section, table
from report.tuning import counted
from tests.report import many


def written(page, folder):
    """The files for papers of a page, by name."""
    papers.write(page, folder)
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_special_characters_stand_for_themselves():
    text = r"50 % of a_b & {c} \ #1 $x ~ ^2 < 3 −4 – τ é"
    assert latex.escaped(text) == (
        r"50 \% of a\_b \& \{c\} \textbackslash{} \#1 \$x \textasciitilde{} "
        r"\textasciicircum{}2 \textless{} 3 $-$4 -- $\tau$ é"
    )


def test_a_table_has_booktabs_rules_and_a_cell_for_each_column():
    text = latex.table(["variant", "dB"], [["a_b", "−1.00"], ["[c]", "–"]], "50 %", "x-y", {1})
    assert text.splitlines() == [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        r"\caption{50 \%}",
        r"\label{tab:x-y}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"variant & dB \\",
        r"\midrule",
        r"a\_b & $-$1.00 \\",
        r"{}[c] & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_every_table_of_a_page_and_its_methods_are_written(tmp_path):
    page = compare(many.experiments(tmp_path, 12, 100))
    folder = tmp_path / "mini_tables"
    folder.mkdir()
    (folder / "99-old.tex").write_text("of an earlier page")
    files = written(page, folder)
    tables = [name for name in files if name.endswith(".tex") and not name.startswith("methods")]
    assert len(tables) == page.count("<table")
    assert sorted(tables)[0] == "01-which-spleeter-variants-by-sdr-the-best-first.tex"
    data = set(re.findall('<a download="([^"]+)"', page))
    assert "svoice_runs.csv" in data
    assert set(files) - set(tables) == {"methods.txt", "methods.tex", "tables.md"} | data
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".tables")] == []
    for name in tables:
        text = files[name]
        columns = len(re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)[1])
        rows = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert len(rows) > 1
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {columns - 1}
        assert not re.search(r"(?<!\\)[#_%](?! needs)", text.replace("% needs", ""))
    ranking = files["01-which-spleeter-variants-by-sdr-the-best-first.tex"]
    assert r"adam $\cdot$ step (baseline) & 1 & " in ranking
    assert " & 0.008 & 0.35 \\\\" in ranking


def test_the_methods_have_their_numbers(tmp_path):
    experiments, tuning = many.tuned(tmp_path, seeds=3, repetitions=1)
    page = compare(experiments, tuning=tuning)
    text = written(page, tmp_path / "tables")["methods.txt"]
    for part in (
        "We compared 3 variants of the training (adam, nesterov, sgd) on Spleeter (music, four "
        "stems) and SVoice (speech, several speakers).",
        "(learning_rate, beta1, momentum; the spaces are in a table of their own) were tuned with "
        "4 quasi-random trials",
        "Of the 24 trials over the models, 6 diverged",
        "were run again with 3 seeds, and only these runs count.",
        "Each variant was run with 3 seeds: 9 of Spleeter and 9 of SVoice in all.",
        "means over the seeds with 95 % intervals by Student's t",
        "Differences from adam are paired by seed",
        "Holm's correction over the variants",
        f"SciPy {scipy.__version__}",
    ):
        assert part in text
    assert text.strip().replace("'", "&#x27;") in page  # in the page, to copy
    latex_text = (tmp_path / "tables" / "methods.tex").read_text(encoding="utf-8")
    assert "(learning\\_rate, " in latex_text and "95 \\% intervals" in latex_text


def test_the_methods_say_what_was_repeated_and_what_diverged(tmp_path):
    experiments, tuning = many.tuned(tmp_path, seeds=1, repetitions=2)
    runs = counted(summary(experiments), tuning)
    text = methods.text(experiments, runs, "adam", tuning)
    assert "The tuning was repeated 2 times from new points." in text
    assert "paired by repetition" in text and "with 1 seed" in text
    assert "diverged, and" not in text
    experiments = many.experiments(tmp_path, 12, 50)
    text = methods.text(experiments, summary(experiments), "adam · step", None)
    assert "2 runs of 24 diverged, and count with the best weights until then." in text
    assert "trial" not in text


def test_all_tables_are_in_one_markdown_file_below_their_headings(tmp_path):
    small = table(["a", "b"], [["x|*y*", "1"]], "Small")
    page = section("one", "One", "", small) + section(
        "two", "Two", "", f"<h3>Music</h3>{small}{small}<h3>Speech</h3>{small}"
    )
    rows = ["Small:", "", "| a | b |", "| --- | ---: |", r"| x\|\*y\* | 1 |", ""]
    assert written(page, tmp_path / "tables")["tables.md"].splitlines() == [
        *("## One", "", *rows, "## Two", "", "### Music", "", *rows, *rows),
        *("### Speech", "", *rows[:-1]),
    ]


def test_data_of_the_page_are_csv_files(tmp_path):
    frame = pd.DataFrame({"variant": ["é & <b>"], "score": [0.1]})
    page = section("one", "One", "", download("scores.csv", frame))
    path = tmp_path / "tables" / "scores.csv"
    written(page, path.parent)
    pd.testing.assert_frame_equal(pd.read_csv(path), frame)


SMALL = section("which", "Which?", "", table(["a", "b"], [["x", "1"]], "Small")) + section(
    "papers", "For papers", *papers.render("We compared <x> & y.")
)


def test_a_failure_leaves_the_files_of_the_earlier_page(tmp_path, monkeypatch):
    before = written(SMALL, tmp_path / "tables")
    assert set(before) == {"01-which-small.tex", "tables.md", "methods.txt", "methods.tex"}
    assert before["methods.txt"] == "We compared <x> & y.\n"
    assert before["methods.tex"] == "We compared \\textless{}x\\textgreater{} \\& y.\n"

    def fail(path, data):
        raise OSError("the disk is full")

    monkeypatch.setattr(papers, "write_file", fail)
    with pytest.raises(OSError, match="the disk is full"):
        papers.write(SMALL.replace("Small", "Other"), tmp_path / "tables")
    assert {path.name for path in (tmp_path / "tables").iterdir()} == set(before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tables"]


def test_a_page_name_may_be_as_long_as_a_file_name_can_be(tmp_path):
    folder = tmp_path / f"{'x' * (255 - len(papers.FOLDER))}{papers.FOLDER}"
    assert papers.write(SMALL, folder) == 1
