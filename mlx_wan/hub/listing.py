"""What a repository holds at one commit: names, sizes and hashes, checked before anything is used.

A branch is resolved to its commit here, once; everything after asks for that commit.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, NoReturn
from urllib.parse import quote

from mlx_wan.errors import BadFileError, ModelError, UsageError
from mlx_wan.registry.content import is_repo
from mlx_wan.settings import shown
from mlx_wan.tensorfile import strict_json

from .transport import Patience, endpoint, read_body

COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REVISION = re.compile(r"[A-Za-z0-9_][\w./+-]{0,199}", re.ASCII)
_MAX_FILES = 20_000
_MAX_SIZE = 1 << 44  # 16 TiB; no model is near it
# what a conversion needs of the original and the diffusers layout: no images, demos or CLIP
NEEDED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*VAE.pth",
    "models_t5_*.pth",
    "config.json",
    "*/config.json",
    "*spiece.model",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
)


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository. `etag` is its sha256 when it is large, else its git blob sha1.

    `sha256` is what it must have besides, from the catalogue or the hub; None when nobody says.
    """

    path: str
    size: int
    etag: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Listing:
    """The files of `repo` at `commit`; `revision` is the branch or tag that was asked for.

    A `gated` one gives its files only to those who accepted its terms.
    """

    repo: str
    commit: str
    files: tuple[RemoteFile, ...]
    revision: str | None = None
    gated: bool = False

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def url(self, file: RemoteFile) -> str:
        return f"{endpoint()}/{self.repo}/resolve/{self.commit}/{quote(file.path)}"


@dataclass(frozen=True)
class Pin:
    """What is known of a file beforehand; None where it is not."""

    path: str
    size: int | None = None
    sha256: str | None = None


def list_files(repo: str, revision: str | None = None, patience: Patience | None = None) -> Listing:
    """All files of a repository at a commit, branch or tag (default: main). Asks the hub once.

    Raises UsageError for impossible names, ModelError or BadFileError for what the hub answers.
    """
    revision = revision or "main"
    if not is_repo(repo):
        raise UsageError(f"{shown(repo)} is no repository of the hub", "names are OWNER/NAME")
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise UsageError(f"{shown(revision)} is no revision", "give a branch, tag or commit")
    url = f"{endpoint()}/api/models/{repo}/revision/{quote(revision, safe='')}?blobs=true"
    what = f"{repo} at {revision}"
    try:
        answer = strict_json(read_body(url, what, patience))
    except ValueError:
        raise BadFileError(
            f"{what}: the hub's answer is no JSON", "check HF_ENDPOINT, proxy and login page"
        ) from None
    commit = answer.get("sha") if isinstance(answer, dict) else None
    siblings = answer.get("siblings") if isinstance(answer, dict) else None
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        _refuse(what, "names no commit")
    if COMMIT.fullmatch(revision) and commit != revision:
        _refuse(what, f"is about commit {commit}")
    if not isinstance(siblings, list) or len(siblings) > _MAX_FILES:
        _refuse(what, "has no list of files, or an endless one")
    files = tuple(_file(what, sibling) for sibling in siblings)
    named = None if COMMIT.fullmatch(revision) else revision
    return Listing(repo, commit, files, named, gated=bool(answer.get("gated")))


def choose(listing: Listing, patterns: Sequence[str] = (), pins: Iterable[Pin] = ()) -> Listing:
    """The listing with only the files that match, or without patterns those pinned.

    Without either, what a conversion needs. Pins that say size or sha256 must agree with the hub.
    Raises ModelError when a file is missing or nothing matches, BadFileError for unsafe names.
    """
    known = {pin.path: pin for pin in pins}
    if not patterns and known:
        there = {file.path for file in listing.files}
        missing = [path for path in known if path not in there]
        if missing:
            raise ModelError(
                f"{listing.repo} at {listing.commit[:12]} has no {shown(missing[0])}",
                "give the revision that is known, or choose files with --include",
            )
        chosen = [file for file in listing.files if file.path in known]
    else:
        chosen = matching(listing, patterns or NEEDED)
    if not chosen:
        raise ModelError(
            f"{listing.repo} has no file that matches {', '.join(map(shown, patterns or NEEDED))}",
            f"it has {len(listing.files)}: " + ", ".join(shown(f.path) for f in listing.files[:5]),
        )
    _check_names(listing.repo, [file.path for file in chosen])
    return replace(listing, files=tuple(_pinned(listing, file, known) for file in chosen))


def matching(listing: Listing, patterns: Sequence[str]) -> list[RemoteFile]:
    return [
        file
        for file in listing.files
        if any(fnmatchcase(file.path, pattern) for pattern in patterns)
    ]


def _pinned(listing: Listing, file: RemoteFile, pins: dict[str, Pin]) -> RemoteFile:
    pin = pins.get(file.path)
    if pin is None:
        return file
    size_differs = pin.size not in (None, file.size)
    if size_differs or (pin.sha256 and file.sha256 and pin.sha256 != file.sha256):
        raise BadFileError(
            f"{file.path} of {listing.repo} is not the file that is known: "
            + (
                f"{file.size:,} bytes instead of {pin.size:,}"
                if size_differs
                else f"sha256 {file.sha256} instead of {pin.sha256}"
            ),
            "it was replaced; --revision chooses other files knowingly",
        )
    return replace(file, sha256=pin.sha256 or file.sha256)


def _file(what: str, sibling: Any) -> RemoteFile:
    if not isinstance(sibling, dict):
        _refuse(what, "lists something that is no file")
    path, size, lfs = sibling.get("rfilename"), sibling.get("size"), sibling.get("lfs")
    if not isinstance(path, str) or not path:
        _refuse(what, "lists a file without a name")
    if lfs is not None and not isinstance(lfs, dict):
        _refuse(what, f"does not say how {shown(path)} is stored")
    etag = sibling.get("blobId") if lfs is None else lfs.get("sha256")
    if not isinstance(etag, str) or not (COMMIT if lfs is None else _SHA256).fullmatch(etag):
        _refuse(what, f"gives no hash of {shown(path)}")
    if lfs is not None and lfs.get("size", size) != size:
        _refuse(what, f"gives two sizes of {shown(path)}")
    if type(size) is not int or not 0 <= size <= _MAX_SIZE:
        _refuse(what, f"gives {shown(path)} the size {shown(size)}")
    return RemoteFile(path, size, etag, None if lfs is None else etag)


def _check_names(repo: str, paths: list[str]) -> None:
    """Raise BadFileError unless each is a plain place below the snapshot's folder, and its own."""
    for path in paths:
        parts = path.split("/")
        if any(
            part in ("", ".", "..") or len(part.encode("utf-8", "replace")) > 255 for part in parts
        ):
            _unsafe(repo, path)
        if len(path) > 1000 or "\\" in path or ":" in path or not path.isprintable():
            _unsafe(repo, path)
    # one place on a disk that ignores case, or that composes accents
    places = [unicodedata.normalize("NFC", path).casefold() for path in paths]
    taken = set(places)
    if len(taken) < len(places):
        twice = next(paths[i] for i, place in enumerate(places) if place in places[:i])
        raise BadFileError(f"{repo} lists {shown(twice)} twice", "nothing of it was used")
    for path, place in zip(paths, places, strict=True):
        parents = [place[:i] for i, letter in enumerate(place) if letter == "/"]
        if taken.intersection(parents):
            raise BadFileError(f"{repo} has {shown(path)} inside a file", "nothing of it was used")


def _unsafe(repo: str, path: str) -> NoReturn:
    raise BadFileError(f"{repo} has a file with the unsafe name {shown(path)}", "it was not used")


def _refuse(what: str, problem: str) -> NoReturn:
    raise BadFileError(
        f"{what}: the hub's answer {problem}", "check HF_ENDPOINT; nothing of it was used"
    )
