"""Where a video goes, and how it gets its name: with poster and record, or not at all.

Everything is written under hidden names of this process and linked to the final ones last: the
record first, the video at the end. What a process that died left behind is undone by the next one
that makes the same video.
"""

import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import MlxWanError, UsageError
from .files import check_writable, free_name, write_json
from .home import expanded


def free_output(output: str | None, stem: str, stage: str, *beside: str) -> Path:
    """`output`, or a free name beginning with `stem` in a stage of the library.

    Files with the suffixes `beside` will lie beside it. Raises UsageError for what is taken, no
    .mp4 or cannot be written.
    """
    if output is None:
        from .library import stage_folder

        path = stage_folder(stage) / f"{stem}.mp4"
        remove_unfinished(path)
        path = free_name(path, *beside)
    else:
        if "\0" in output:
            raise UsageError("output contains a NUL character", "remove it")
        path = expanded(output)
        if path.suffix.lower() != ".mp4":
            raise UsageError(f"output is {output!r}", "videos are written as .mp4")
        remove_unfinished(path)
        for taken in (path, *map(path.with_suffix, beside)):
            if os.path.lexists(taken):
                raise UsageError(
                    f"{taken} exists already", "nothing is overwritten; give another name"
                )
    longest = Path(_unchecked_name(path)).with_suffix(".json")
    check_writable(path, f".{longest}.1234567.partial")
    return path


def unchecked_file(video: Path) -> Path:
    """Where a video is written before it is known to be good; only for this process."""
    remove_unfinished(video)
    return video.with_name(_unchecked_name(video))


def keep(
    files: Sequence[Path], video: Path, make_record: Callable[[Path], dict[str, Any]]
) -> tuple[Path, dict[str, Any]]:
    """Give `files` (the video first, all with the name of `unchecked_file` but for the suffix) the
    name of `video`, or a free one, together with the record that `make_record` makes of the path.

    All have their names at the end, or none. Returns the video's path and the record.
    """
    unchecked, record_file = files[0], files[0].with_suffix(".json")
    beside = [".json", *(file.suffix for file in files[1:])]
    try:
        while True:
            final = free_name(video, *beside)
            record = make_record(final)
            write_json(record_file, record)
            if _link_all([record_file, *files[1:], unchecked], final):
                return final, record
    finally:
        for file in (record_file, *files[1:], unchecked):  # the video last: it tells of the rest
            file.unlink(missing_ok=True)


def into_library(video: Path, record_path: Path, stage: str) -> str:
    """Index a kept video and return its id. Raises MlxWanError, naming the video, which is whole
    whatever happens to the index."""
    from . import library

    try:
        return library.add(video, record_path, stage)
    except (MlxWanError, OSError) as error:
        reason = error.message if isinstance(error, MlxWanError) else error.strerror
        raise MlxWanError(
            f"{video} is made, but not in the library's index: {reason}",
            "`mlx-wan library rebuild` puts it there",
        ) from None


def remove_unfinished(video: Path) -> None:
    """Remove what dead processes left of the same video: hidden files, and what already had its
    name of a video that did not get one any more."""
    with suppress(OSError):  # nothing of it matters to what is made now
        left = [file for file in video.parent.iterdir() if _is_left(file, video)]
        for file in left:
            whole = file.with_suffix(".mp4")
            if not (whole in left and _names_of(whole)):
                for name in _names_of(file):
                    name.unlink(missing_ok=True)
        for file in sorted(left, key=lambda file: file.suffix == ".mp4"):  # as in `keep`
            file.unlink(missing_ok=True)


_UNCHECKED = re.compile(r"\.{1,2}(.+)\.(\d{1,9})\.unchecked\..+", re.DOTALL)


def _unchecked_name(video: Path) -> str:
    """Of this process alone: another run may be making a video of the same name."""
    return f".{video.stem}.{os.getpid()}.unchecked.mp4"


def _is_left(file: Path, video: Path) -> bool:
    found = _UNCHECKED.fullmatch(file.name)
    if not found or _is_alive(int(found[2])):
        return False
    return re.sub(r"_\d+$", "", found[1]) == re.sub(r"_\d+$", "", video.stem)


def _names_of(file: Path) -> list[Path]:
    """The visible files that are the same as a hidden one."""
    if file.lstat().st_nlink < 2:
        return []
    others = [o for o in file.parent.glob(f"*{file.suffix}") if not o.name.startswith(".")]
    return [other for other in others if not other.is_symlink() and other.samefile(file)]


def _link_all(files: Sequence[Path], video: Path) -> bool:
    """Give each file the name of `video` with its own suffix; False, and none has it, when another
    process has just taken one of them."""
    names = [video if file is files[-1] else video.with_suffix(file.suffix) for file in files]
    is_done = False
    try:
        for file, name in zip(files, names, strict=True):
            _link(file, name)
        is_done = True
    except FileExistsError:
        return False
    finally:  # whatever stops it, a signal between two lines as well
        if not is_done:
            for file, name in zip(files, names, strict=True):
                _unlink(file, name)
    return True


def _link(file: Path, name: Path) -> None:
    try:
        os.link(file, name)  # unlike a rename, this never overwrites
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(name):
            raise FileExistsError from None
        file.rename(name)


def _unlink(file: Path, name: Path) -> None:
    """Undo `_link`, done or not; a file of somebody else's with that name stays."""
    if not file.exists():
        name.rename(file)
    elif name.exists() and name.samefile(file):
        name.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        pass
    return True
