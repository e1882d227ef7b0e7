"""Paths that the user sets."""

from contract.layout import configured_path


def test_where_a_configured_path_is(monkeypatch, tmp_path):
    home, repository = tmp_path / "home", tmp_path / "repository"
    repository.mkdir()
    monkeypatch.chdir(repository)
    monkeypatch.setenv("HOME", str(home))
    assert configured_path("songs") == repository / "songs"
    assert configured_path(str(tmp_path / "songs")) == tmp_path / "songs"
    assert configured_path("~/songs") == home / "songs"
    assert configured_path("~no-such-user/songs") == repository / "~no-such-user" / "songs"
