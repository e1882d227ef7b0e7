"""The scores that are kept of an unfinished run, in a folder that processes share."""

from pathlib import Path

from metrics import score_all


def test_two_processes_may_keep_the_same_scores_at_the_same_time(tmp_path, monkeypatch):
    """Even processes of the same number, on two machines."""
    path = tmp_path / "scores.json"
    replace = Path.replace

    def replace_after_another_process(temporary, target):
        monkeypatch.undo()
        score_all._write(path, "7")
        return replace(temporary, target)

    monkeypatch.setattr(Path, "replace", replace_after_another_process)
    score_all._write(path, "7")
    assert path.read_text() == "7"
    assert list(tmp_path.iterdir()) == [path]
