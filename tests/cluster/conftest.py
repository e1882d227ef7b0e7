"""The Slurm cluster of the tests, which runs for as long as the session."""

from collections.abc import Iterator

import pytest

from tests.slurm_cluster import Cluster, NotInstalledError, check_installed


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of two nodes. Without Slurm the test is skipped."""
    try:
        check_installed()
    except NotInstalledError as error:
        pytest.skip(f"needs Slurm; {error}")
    with Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster
