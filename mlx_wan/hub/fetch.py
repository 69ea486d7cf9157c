"""One file from the hub: streamed beside its final place, taken up where it was cut, checked.

A file gets its name in the cache only when size and hash are those the commit lists.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from mlx_wan.errors import BadFileError, ModelError
from mlx_wan.files import locked

from .cache import blob, partial
from .listing import COMMIT, Listing, RemoteFile
from .transport import Patience, TransientError, attempts, is_hub, opened
from .verify import Digests, Progress

_CHUNK = 1 << 20
_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15}|\*)")
_SHA = re.compile(r'(?:W/)?"?([0-9a-f]{40}|[0-9a-f]{64})"?')
_WRONG_TWICE = "something between here and the hub changes files; check proxy and HF_ENDPOINT"


class WrongContentError(Exception):
    """What came is not the file; nothing of it may be kept."""


def fetch(
    listing: Listing, file: RemoteFile, progress: Progress, patience: Patience | None = None
) -> str:
    """Bring a file into the cache's blobs, whole and checked; returns its sha256.

    Raises ModelError, BadFileError when what comes is not the file the commit lists.

    `progress` is told the bytes that are new, negative ones when they have to come again.
    """
    kept, final = partial(listing, file), blob(listing, file)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with _locked(kept) as stream:
        told = ""
        for _ in range(2):  # a flipped bit on the way is worth a second try, a third is not
            try:
                digests = _kept_so_far(stream, file, progress)
                _fill(listing, file, stream, digests, progress, patience)
                if problem := digests.problem():
                    raise WrongContentError(problem)
            except WrongContentError as wrong:
                told = str(wrong)
                progress(-_empty(stream))
                continue
            stream.flush()
            os.fsync(stream.fileno())
            kept.replace(final)
            return digests.sha256.hexdigest()
        kept.unlink()
        raise BadFileError(f"{file.path} of {listing.repo} {told}; it was not used", _WRONG_TWICE)


def _kept_so_far(stream: BinaryIO, file: RemoteFile, progress: Progress) -> Digests:
    """The hashes of what an earlier attempt left."""
    digests = Digests(file)
    if os.fstat(stream.fileno()).st_size > file.size:
        _empty(stream)
    stream.seek(0)
    while chunk := stream.read(_CHUNK):
        digests.update(chunk)
        progress(len(chunk))
    return digests


def _fill(
    listing: Listing,
    file: RemoteFile,
    stream: BinaryIO,
    digests: Digests,
    progress: Progress,
    patience: Patience | None,
) -> None:
    """Append what is missing, through as many connections as that takes."""
    what = f"{file.path} of {listing.repo}"
    if digests.size == file.size:
        return
    for attempt in attempts(patience):
        before = digests.size
        with attempt:
            headers = {"range": f"bytes={before}-"} if before else {}
            with opened(listing.url(file), what, headers) as response:
                _check_answer(listing, file, response, before)
                if before and response.status_code == 200:  # they begin again, so must we
                    progress(-_empty(stream))
                    digests.reset()
                for chunk in response.iter_bytes():
                    if digests.size + len(chunk) > file.size:
                        raise WrongContentError(f"is longer than its {file.size:,} bytes")
                    _write(stream, chunk)
                    digests.update(chunk)
                    progress(len(chunk))
            if digests.size < file.size:
                raise TransientError(
                    ModelError(
                        f"{what}: the connection ends early, again and again",
                        "what came is kept: the same command goes on where it stopped",
                    )
                )
            attempt.succeeded = True
        attempt.gained = digests.size - before


def _check_answer(listing: Listing, file: RemoteFile, response: Any, start: int) -> None:
    """Raise when the headers say that this is something else than was asked for."""
    what = f"{file.path} of {listing.repo}"
    for answer in (*response.history, response):
        if not is_hub(answer):
            continue
        headers = answer.headers
        commit, size = headers.get("X-Repo-Commit", ""), headers.get("X-Linked-Size", "")
        if COMMIT.fullmatch(commit) and commit != listing.commit:
            raise BadFileError(
                f"{what}: the hub answers for commit {commit[:12]}, not {listing.commit[:12]}",
                "check HF_ENDPOINT; nothing of it was used",
            )
        own = "" if answer.has_redirect_location else headers.get("ETag", "")
        match = _SHA.fullmatch(headers.get("X-Linked-Etag", own))
        if match and match[1] not in (file.etag, file.sha256):
            raise WrongContentError(f"is another file at the hub, {match[1][:12]}")
        if size.isdecimal() and size != str(file.size):
            raise WrongContentError(f"has {size[:20]} bytes at the hub instead of {file.size:,}")
    headers = response.headers
    if response.status_code == 206:
        match = _RANGE.fullmatch(headers.get("Content-Range", ""))
        whole = ("*", str(file.size))
        fits = match and (int(match[1]), int(match[2])) == (start, file.size - 1)
        if not match or not fits or match[3] not in whole or "Content-Encoding" in headers:
            raise WrongContentError("came from another place than was asked for")
    if "html" in headers.get("Content-Type", "") and not file.path.endswith((".html", ".htm")):
        raise WrongContentError("came as a web page, as of a proxy or a login")
    length = headers.get("Content-Length", "")
    expected = file.size - (start if response.status_code == 206 else 0)
    if length.isdecimal() and "Content-Encoding" not in headers and length != str(expected):
        raise WrongContentError(f"would have {length[:20]} bytes instead of {expected:,}")


def _write(stream: BinaryIO, chunk: bytes) -> None:
    try:
        while chunk:
            chunk = chunk[stream.write(chunk) :]
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ModelError(
                "the disk of the cache is full",
                "free some space; the same command goes on where it stopped",
            ) from None
        raise


def _empty(stream: BinaryIO) -> int:
    """Throw away what is in a file; returns how much it was."""
    size = os.fstat(stream.fileno()).st_size
    stream.seek(0)
    stream.truncate()
    return size


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """A partial file for reading and appending, kept from a second download of it."""
    busy = ModelError(f"another download is writing {path.name}", "wait for it, or stop it")
    if path.is_dir():
        raise ModelError(f"{path} is a folder", "delete it")
    with locked(path, busy=busy, hint="delete it, or check space and permissions") as number:
        yield open(number, "r+b", buffering=0, closefd=False)  # noqa: SIM115
