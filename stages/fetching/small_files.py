"""Small files that are pinned by their checksums, from a local folder or from the web."""

from __future__ import annotations

from contract.errors import InputError
from contract.layout import configured_path, scratch_root
from contract.locks import lock
from stages.fetching.checksums import check_sha256
from stages.fetching.download import discard, download, without_secrets


def read(
    name: str, folder: str | None, url: str, sha256: str | None, key: str, description: str
) -> bytes:
    """Returns the content of a file.

    Args:
        name: the file's path below `folder` or `url`.
        folder: the local folder, as in the configuration; None downloads the file.
        url: the address of the folder on the web.
        sha256: the checksum of the content; None skips the check.
        key: the configuration's key of the local folder, for errors.
        description: what the local folder holds, for errors.

    Raises:
        InputError: the file is not there, cannot be downloaded, or has another checksum.
    """
    if folder is None:
        address = f"{url}/{name}"
        # Without the lock, another experiment that downloads the same file could remove it before
        # this one has read it.
        with lock(scratch_root() / "downloads" / "small_files.lock", without_secrets(address)):
            path = download(address, sha256 and f"sha256:{sha256}")
            content = path.read_bytes()
            discard(path)
        return content
    path = configured_path(folder) / name
    if not path.is_file():
        raise InputError(
            path, "there is no such file", f"set {key} to the folder that holds {description}"
        )
    content = path.read_bytes()
    if sha256:
        check_sha256(path, content, sha256)
    return content
