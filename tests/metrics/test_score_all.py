"""What is kept of an unfinished scoring, in a folder that processes share."""

from pathlib import Path

from metrics import score_all


def test_who_keeps_the_same_at_the_same_time_is_no_hindrance(tmp_path, monkeypatch):
    """Even where it has the same number as this process: on another machine."""
    path = tmp_path / "scores.json"
    replace = Path.replace

    def after_another(own, target):
        monkeypatch.undo()
        score_all._write(path, "7")
        return replace(own, target)

    monkeypatch.setattr(Path, "replace", after_another)
    score_all._write(path, "7")
    assert path.read_text() == "7"
    assert list(tmp_path.iterdir()) == [path]
