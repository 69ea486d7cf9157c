"""Whether files on disk are what their hashes say."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .listing import RemoteFile

_CHUNK = 1 << 22
Progress = Callable[[int], None]  # bytes that were read or came since the last call


class Digests:
    """The hashes a file must have, taken while its bytes pass by."""

    def __init__(self, file: RemoteFile):
        self.file = file
        self.reset()

    def reset(self) -> None:
        """Begin again at the file's first byte."""
        self.size, self.sha256, self.git = 0, hashlib.sha256(), None
        if len(self.file.etag) == 40:  # git's name of a blob: of its header, then the contents
            header = f"blob {self.file.size}\0".encode()
            self.git = hashlib.sha1(header, usedforsecurity=False)

    def update(self, chunk: Any) -> None:
        self.size += len(chunk)
        self.sha256.update(chunk)
        if self.git is not None:
            self.git.update(chunk)

    def read(self, path: Path, progress: Progress | None = None) -> None:
        """Take in a file that is here already."""
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                self.update(chunk)
                if progress:
                    progress(len(chunk))

    def problem(self) -> str | None:
        """What is wrong with the bytes that passed; None when nothing is."""
        file = self.file
        if self.size != file.size:
            return f"has {self.size:,} bytes instead of {file.size:,}"
        if self.git is None and self.sha256.hexdigest() != file.etag:
            return f"has sha256 {self.sha256.hexdigest()} instead of {file.etag}"
        if self.git is not None and self.git.hexdigest() != file.etag:
            return f"has git hash {self.git.hexdigest()} instead of {file.etag}"
        if file.sha256 is not None and self.sha256.hexdigest() != file.sha256:
            return f"has sha256 {self.sha256.hexdigest()} instead of {file.sha256}"
        return None


def examine(
    path: Path, file: RemoteFile, progress: Progress | None = None
) -> tuple[str | None, str]:
    """What is wrong with the file at `path`, None when it is exactly `file`; and its sha256."""
    try:
        if not path.is_file():
            return ("is no file" if path.exists() else "is missing"), ""
        size = path.stat().st_size
        if size != file.size:
            return f"has {size:,} bytes instead of {file.size:,}", ""
        digests = Digests(file)
        digests.read(path, progress)
        return digests.problem(), digests.sha256.hexdigest()
    except OSError as error:
        return f"cannot be read: {error.strerror}", ""


def check_files(
    folder: Path, files: Iterable[RemoteFile], progress: Progress | None = None
) -> list[str]:
    """What is wrong with a downloaded folder, one line per file; an empty list when all is well."""
    problems = []
    for file in files:
        problem, _ = examine(folder / file.path, file, progress)
        if problem:
            problems.append(f"{file.path} {problem}")
    return problems
