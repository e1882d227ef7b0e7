"""Small files that are pinned by their checksums, from a folder that is given or from the web."""

from metrics.errors import InputError
from stages.checksums import check_sha256
from stages.download import discard, download, shown
from stages.given import given
from stages.lock import lock
from stages.scratch import scratch_root


def read(
    name: str, folder: str | None, url: str, sha256: str | None, key: str, expected: str
) -> bytes:
    """The content of a file.

    Args:
        name: below `folder` or `url`.
        folder: as the configuration gives it; None fetches the file.
        url: of the folder on the web.
        sha256: of the content; None where it is not known.
        key: the configuration's, of the folder.
        expected: what the file is, for errors.

    Raises:
        InputError: it is not there, cannot be had, or is another.
    """
    if folder is None:
        address = f"{url}/{name}"
        # Another experiment that has read the file would remove it before this one has.
        with lock(scratch_root() / "downloads" / "small_files.lock", shown(address)):
            path = download(address, sha256 and f"sha256:{sha256}")
            content = path.read_bytes()
            discard(path)
        return content
    path = given(folder) / name
    if not path.is_file():
        raise InputError(path, "no such file", f"{expected}, in the folder {key}")
    content = path.read_bytes()
    if sha256:
        check_sha256(path, content, sha256)
    return content
