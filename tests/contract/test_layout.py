"""The folder of unfinished work, and paths that the user sets."""

import pytest

from contract.errors import InputError
from contract.layout import configured_path, scratch_root


@pytest.fixture
def repository(monkeypatch, tmp_path):
    """A repository as the working directory."""
    monkeypatch.delenv("SEPARATION_SCRATCH", raising=False)
    repository = tmp_path / "repository"
    repository.mkdir()
    monkeypatch.chdir(repository)
    return repository


def test_where_a_configured_path_is(repository, monkeypatch, tmp_path):
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    assert configured_path("songs") == repository / "songs"
    assert configured_path(str(tmp_path / "songs")) == tmp_path / "songs"
    assert configured_path("~/songs") == home / "songs"
    assert configured_path("~no-such-user/songs") == repository / "~no-such-user" / "songs"


def test_unfinished_work_may_be_outside_the_repository(repository, monkeypatch, tmp_path):
    """Also in a temporary workspace of DVC. Paths that the user sets still start at the
    repository."""
    temporary = repository / ".dvc" / "tmp" / "exps" / "abc"
    temporary.mkdir(parents=True)
    for folder in (repository, temporary):
        monkeypatch.chdir(folder)
        monkeypatch.setenv("SEPARATION_SCRATCH", "")
        assert scratch_root() == repository / "scratch"
        monkeypatch.setenv("SEPARATION_SCRATCH", str(tmp_path / "shared" / "cell"))
        assert scratch_root() == tmp_path / "shared" / "cell"
        assert configured_path("songs") == repository / "songs"


def test_a_relative_folder_for_unfinished_work_is_one_line(repository, monkeypatch):
    monkeypatch.setenv("SEPARATION_SCRATCH", "shared/cell")
    with pytest.raises(InputError) as raised:
        scratch_root()
    message = "SEPARATION_SCRATCH: found shared/cell, expected an absolute path"
    assert str(raised.value) == message
