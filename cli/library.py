"""`mlx-wan library`: every finished video, found again, published, archived and checked."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from mlx_wan.errors import MlxWanError, UsageError

from . import library_tables as tables
from .options import Json, takes

if TYPE_CHECKING:
    from mlx_wan.library import Entry, Library

ARCHIVE_HELP = """\
Every night by cron (`crontab -e`): 0 3 * * * /whole/path/of/mlx-wan library archive

On macOS by launchd, which makes up for nights asleep:
mlx-wan library archive --launchd > ~/Library/LaunchAgents/mlx-wan.archive.plist &&
launchctl load ~/Library/LaunchAgents/mlx-wan.archive.plist
"""

library_app = typer.Typer(
    name="library",
    help="Finished videos: list, search, tag, publish, archive, verify.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Id = Annotated[
    str, typer.Argument(metavar="ID", help="A video's id, the beginning of one, or a file name.")
]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids, their beginnings, or names.")]
Model = Annotated[str | None, typer.Option(help="A part of the model's name.")]
Tag = Annotated[list[str] | None, typer.Option(help="With this tag; may be repeated.")]
Since = Annotated[
    str | None, typer.Option(help="Made since a date (2026-11-30) or for as long as 7d, 12w, 1y.")
]
Until = Annotated[str | None, typer.Option(help="Made before a date, or longer ago than 90d.")]
Stage = Annotated[str | None, typer.Option(help="raw, processed or published.")]
Archived = Annotated[
    bool | None,
    typer.Option("--archived/--not-archived", help="Only what is in the archive, or is not."),
]
Limit = Annotated[int, typer.Option(min=0, help="Show so many, the newest; 0 shows all.")]


# what `list` and `search` leave out
FILTERS: dict[str, Any] = {
    "model": Model,
    "tag": Tag,
    "since": Since,
    "until": Until,
    "stage": Stage,
    "archived": Archived,
}


@library_app.command("list")
@takes(FILTERS)
def list_videos(filters: dict[str, Any], limit: Limit = 50, as_json: Json = False) -> None:
    """List videos, newest first."""
    _show_found("", filters, limit, as_json)


@library_app.command()
@takes(FILTERS)
def search(
    filters: dict[str, Any],
    text: Annotated[
        list[str],
        typer.Argument(help='Words, or their beginnings, that must all be there; "in this order".'),
    ],
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Find videos by prompt, text, title, model, tag, date or name; in the archive as well."""
    # a shell has taken the quotes of "two words"; they come as one argument
    words = " ".join(f'"{w}"' if " " in w.strip() and '"' not in w else w for w in text)
    _show_found(words, filters, limit, as_json)


@library_app.command()
def show(id: Id, as_json: Json = False) -> None:
    """Show all about one video."""
    from mlx_wan.record import read_json

    with _library() as library:
        entry = _chosen(library, [id])[0]
    if as_json:
        record = read_json(entry.record_path) if entry.record_path.exists() else None
        print(_dumped({"ok": True, "video": entry.to_dict(), "record": record}))
    else:
        tables.print_entry(entry)


@library_app.command("open")
def open_video(
    id: Id,
    print_only: Annotated[bool, typer.Option("--print", help="Print the path instead.")] = False,
) -> None:
    """Open a video in the system's player."""
    with _library() as library:
        entry = _chosen(library, [id])[0]
    if not entry.video.exists():
        hint = "is the archive's volume mounted?" if entry.archived else "try `library verify`"
        raise MlxWanError(f"{entry.video} is not there", hint)
    opener = shutil.which("open") if sys.platform == "darwin" else shutil.which("xdg-open")
    if print_only or opener is None:
        print(entry.video)
        return
    quiet = subprocess.DEVNULL
    done = subprocess.run([opener, str(entry.video)], stdin=quiet, stdout=quiet, stderr=quiet)
    if done.returncode:
        print(entry.video)
        raise MlxWanError("no player could be started for it", "the path is printed above")


@library_app.command()
def add(
    file: Annotated[Path, typer.Argument(help="An MP4, with its record beside it if it has one.")],
    stage: Annotated[str, typer.Option(help="Where to: raw, processed or published.")] = "raw",
    record: Annotated[Path | None, typer.Option(help="Its record, if it lies elsewhere.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Tag it; may be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """Take a video into the library: a copy, unless it lies in the library's folders already."""
    from mlx_wan.library import actions

    with _library(create=True) as library:
        entry = actions.add(library, file, record, stage)
        if tag:
            entry = actions.tag(library, entry, tag)
    _print_done("added", [entry], as_json)


@library_app.command("tag")
def tag_video(
    id: Id,
    tags: Annotated[list[str], typer.Argument(metavar="TAG...", help="Words to find it by.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take these tags away.")] = False,
    as_json: Json = False,
) -> None:
    """Give tags to a video, or take them away; the record beside it keeps them too."""
    from mlx_wan.library import actions

    with _library() as library:
        entry = actions.tag(library, _chosen(library, [id])[0], tags, remove=remove)
    if as_json:
        print(_dumped({"ok": True, "videos": [entry.to_dict()]}))
    else:
        print(f"{entry.id}  {', '.join(entry.tags) or 'no tags'}")


@library_app.command()
def promote(
    ids: Ids,
    to: Annotated[str | None, typer.Option(help="This stage instead of the next.")] = None,
    as_json: Json = False,
) -> None:
    """Move videos on: raw to processed to published."""
    from mlx_wan.library import actions

    with _library() as library:
        entries = _chosen(library, ids)
        for entry in entries:
            actions.check_promotion(entry, to)  # all are fine, or none is moved
        _each(library, "promoted", entries, partial(actions.promote, stage=to), as_json)


@library_app.command(epilog=ARCHIVE_HELP)
def archive(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Only these.")] = None,
    older_than: Annotated[
        str | None, typer.Option(help="All made longer ago than this. Default: 90d.")
    ] = None,
    stage: Stage = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be moved, and stop.")
    ] = False,
    launchd: Annotated[
        bool, typer.Option("--launchd", help="Print a launchd job that does this every night.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Move old videos, with record and poster, to the archive.

    Copied, hashed on both sides, and only then removed here. Killed at any point
    nothing is lost, and the next run finishes. They stay in every search;
    `restore` brings them back.
    """
    from mlx_wan.library import actions

    if ids and (older_than or stage):
        raise UsageError("ids together with --older-than or --stage", "give one or the other")
    age = older_than or "90d"
    actions.before(age)  # raises what is wrong with it
    stage = _stage(stage)
    if launchd:
        if ids or dry_run:
            raise UsageError(
                "--launchd prints a job for every night", "leave ids and --dry-run out"
            )
        print(_launchd_job(["--older-than", age, *(["--stage", stage] if stage else [])]))
        return
    with _library() as library:
        if ids:
            entries = [entry for entry in _chosen(library, ids) if not entry.archived]
        else:
            entries = actions.old_entries(library, age, stage)
        if dry_run:
            _print_done("would archive", entries, as_json)
            return
        _each(library, "archived", entries, actions.archive, as_json)


@library_app.command()
def restore(ids: Ids, as_json: Json = False) -> None:
    """Bring videos back from the archive, their hashes verified."""
    from mlx_wan.library import actions

    with _library() as library:
        entries = _chosen(library, ids)
        for entry in entries:
            if not entry.archived:
                raise UsageError(f"{entry.id} is not in the archive", f"it is {entry.video}")
        _each(library, "restored", entries, actions.restore, as_json)


@library_app.command()
def delete(
    ids: Ids,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete videos with their records and posters, for good."""
    from mlx_wan.library import actions

    with _library() as library:
        entries = _chosen(library, ids)
    if not yes:
        _confirm(entries, as_json)
    with _library() as library:
        _each(library, "deleted", entries, actions.delete, as_json)


@library_app.command()
def verify(as_json: Json = False) -> None:
    """Read every video again and compare it with its record; look for files of no video.

    Exits with 1 when something is missing, changed or unknown.
    """
    from mlx_wan.library.verify import verify as verify_all

    with _library() as library, tables.progress("reading") as report:
        findings = verify_all(library, report)
    if as_json:
        print(_dumped({"ok": not findings.problems} | findings.to_dict()))
    else:
        tables.print_findings(findings)
    if findings.problems:
        raise typer.Exit(1)


@library_app.command()
def rebuild(as_json: Json = False) -> None:
    """Make the index again from the records beside the videos."""
    from mlx_wan.library.rebuild import rebuild as rebuild_all

    with _library() as library:
        count = rebuild_all(library)
    print(_dumped({"ok": True, "videos": count}) if as_json else f"videos in the index: {count}")


@contextmanager
def _library(*, create: bool = False) -> "Iterator[Library]":
    from mlx_wan.library import open_library

    with open_library(create=create) as library:
        try:
            yield library
        finally:
            for note in dict.fromkeys(library.notes):
                print(f"note: {tables.plain(note)}", file=sys.stderr)


def _chosen(library: "Library", names: list[str]) -> "list[Entry]":
    from mlx_wan.library import chosen

    return list({entry.id: entry for name in names if (entry := chosen(library, name))}.values())


def _show_found(text: str, given: dict[str, Any], limit: int, as_json: bool) -> None:
    """`given` has the values of FILTERS."""
    from mlx_wan.library import Filters, actions
    from mlx_wan.library.entry import clean_tags

    since, until = given["since"], given["until"]
    filters = Filters(
        text=text,
        model=given["model"],
        tags=clean_tags(list(given["tag"] or ())),
        since=None if since is None else actions.before(since),
        until=None if until is None else actions.before(until),
        stage=_stage(given["stage"]),
        archived=given["archived"],
    )
    with _library() as library:
        entries = library.index.select(filters, limit or None)
        total = library.index.count(filters)
    if as_json:
        found = [entry.to_dict() for entry in entries]
        print(_dumped({"ok": True, "total": total, "videos": found}))
    elif entries:
        tables.print_entries(entries, total)
    else:
        print("no video fits" if filters != Filters() else "the library is empty", file=sys.stderr)


def _each(
    library: "Library", done: str, entries: "list[Entry]", action: Any, as_json: bool
) -> None:
    """Print each video as it is done; exit with 1 when some could not be.

    What stops them all (a full disk, a missing archive) is told as the failure of the first."""
    from mlx_wan.library.actions import Failure, each

    moved, failed = [], []
    try:
        for result in each(library, entries, action):
            if isinstance(result, Failure):
                failed.append(result)
            else:
                moved.append(result)
                if not as_json:
                    tables.print_line(done, result)
    except MlxWanError as error:
        failed.append(Failure(entries[len(moved) + len(failed)], error))
    if as_json:
        failures = [{"id": f.entry.id, "error": f.error.message} for f in failed]
        videos = [entry.to_dict() for entry in moved]
        print(_dumped({"ok": not failed, "videos": videos, "failed": failures}))
    for failure in failed:
        print(f"error: {failure.error}", file=sys.stderr)
    if not as_json:
        size = tables.size_text(sum(entry.size for entry in moved))
        print(f"{done}: {len(moved)} of {len(entries)}, {size}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def _print_done(done: str, entries: "list[Entry]", as_json: bool) -> None:
    if as_json:
        print(_dumped({"ok": True, "videos": [entry.to_dict() for entry in entries]}))
        return
    for entry in entries:
        tables.print_line(done, entry)
    if not entries:
        print(f"{done}: nothing", file=sys.stderr)


def _launchd_job(options: list[str]) -> str:
    """A property list for ~/Library/LaunchAgents: every night at three, with these folders."""
    import plistlib

    from mlx_wan.home import home
    from mlx_wan.library import archive_root, library_root

    folders = {"LIBRARY": library_root(), "ARCHIVE": archive_root(), "HOME": home()}
    command = Path(sys.argv[0]).absolute()
    job = {
        "Label": "mlx-wan.archive",
        "ProgramArguments": [str(command), "library", "archive", *options],
        "EnvironmentVariables": {f"MLX_WAN_{name}": str(path) for name, path in folders.items()},
        "StartCalendarInterval": {"Hour": 3, "Minute": 0},
        "StandardErrorPath": str(library_root() / ".library" / "archive.log"),
    }
    return plistlib.dumps(job).decode().rstrip()


def _confirm(entries: "list[Entry]", as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked", "give --yes to delete without asking")
    for entry in entries:
        tables.print_line("delete", entry)
    if not typer.confirm(f"Delete {len(entries)} for good?", err=True):
        _stop("nothing was deleted")


def _stop(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(1)


def _stage(stage: str | None) -> str | None:
    from mlx_wan.library import stage_folder

    if stage is not None:
        stage_folder(stage)  # raises what is wrong with it
    return stage


def _dumped(data: dict[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False)
