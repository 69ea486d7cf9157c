"""The index: what can be found, in SQLite with full-text search. All of it can be made again
from the records, so a damaged index costs nothing but the time to read them."""

import json
import re
import sqlite3
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mlx_wan.errors import MlxWanError, UsageError

from .entry import Entry

SCHEMA_VERSION = 1
_WAIT_SECONDS = 30.0

_COLUMNS = tuple(field.name for field in fields(Entry) if field.name != "root")
_SCHEMA = f"""
CREATE TABLE entries (
  id TEXT PRIMARY KEY, path TEXT NOT NULL, archived INTEGER NOT NULL, created TEXT NOT NULL,
  title TEXT NOT NULL, prompts TEXT NOT NULL, texts TEXT NOT NULL, model TEXT NOT NULL,
  tags TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, fps REAL NOT NULL,
  duration REAL NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL,
  poster_sha256 TEXT NOT NULL, UNIQUE (archived, path)
);
CREATE INDEX entries_created ON entries (created DESC, id DESC);
CREATE VIRTUAL TABLE words USING fts5 (
  title, prompts, texts, model, tags, created, name, tokenize = "unicode61 remove_diacritics 2"
);
PRAGMA user_version = {SCHEMA_VERSION};
"""


class DamagedIndex(Exception):
    """The index file is no database, a broken one, or of another schema."""


@dataclass(frozen=True)
class Filters:
    """What to list; None and () leave nothing out. `since` and `until` are ISO 8601 in UTC,
    `until` excluded. `model` is a part of the name."""

    text: str = ""
    model: str | None = None
    tags: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None
    stage: str | None = None
    archived: bool | None = None


class Index:
    """An open index. `root` and `archive` are where its entries' paths begin."""

    def __init__(self, file: Path | None, root: Path, archive: Path, *, readonly: bool = False):
        """Open or create `file`; None is an index in memory. Raises DamagedIndex."""
        self.root, self.archive = root, archive
        with _told():
            self._connection = _connect(file, readonly)
        try:
            with _told():
                self._prepare(new=file is None, readonly=readonly)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes inside or none; alone among writers. Nested ones belong to the outermost."""
        if self._connection.in_transaction:
            yield
            return
        with _told():
            self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            with _told():
                self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def put(self, entry: Entry) -> None:
        """Insert the entry, or replace the one of the same id."""
        values = {name: getattr(entry, name) for name in _COLUMNS}
        values["tags"] = json.dumps(entry.tags, ensure_ascii=False)
        marks = ", ".join(f":{name}" for name in _COLUMNS)
        with self.transaction():
            self.remove(entry.id)
            other = self.at(entry.path, archived=entry.archived)
            if other is not None:  # its video is gone: this one has taken the name
                self.remove(other.id)
            self._run(f"INSERT INTO entries ({', '.join(_COLUMNS)}) VALUES ({marks})", values)
            row = self._run("SELECT last_insert_rowid()")[0][0]
            self._run(
                "INSERT INTO words (rowid, title, prompts, texts, model, tags, created, name) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    row,
                    *map(_spaced, (entry.title, entry.prompts, entry.texts, entry.model)),
                    *map(_spaced, (" ".join(entry.tags), entry.created, Path(entry.path).stem)),
                ),
            )

    def remove(self, id: str) -> None:
        with self.transaction():
            self._run(
                "DELETE FROM words WHERE rowid = (SELECT rowid FROM entries WHERE id = ?)", (id,)
            )
            self._run("DELETE FROM entries WHERE id = ?", (id,))

    def clear(self, *, archived: bool | None = None) -> None:
        """Forget all entries, or those in the archive, or those not."""
        which = "" if archived is None else f" WHERE archived = {int(archived)}"
        with self.transaction():
            self._run(f"DELETE FROM words WHERE rowid IN (SELECT rowid FROM entries{which})")
            self._run(f"DELETE FROM entries{which}")

    def get(self, id: str) -> Entry | None:
        rows = self._run("SELECT * FROM entries WHERE id = ?", (id,))
        return self._entry(rows[0]) if rows else None

    def at(self, path: str, *, archived: bool) -> Entry | None:
        """The entry whose video is at `path`."""
        query = "SELECT * FROM entries WHERE path = ? AND archived = ?"
        rows = self._run(query, (path, archived))
        return self._entry(rows[0]) if rows else None

    def beginning(self, prefix: str, limit: int = 10) -> list[Entry]:
        """Entries whose id begins with `prefix`, newest first."""
        query = "SELECT * FROM entries WHERE substr(id, 1, ?) = ? ORDER BY created DESC LIMIT ?"
        return [self._entry(row) for row in self._run(query, (len(prefix), prefix, limit))]

    def named(self, name: str, limit: int = 10) -> list[Entry]:
        """Entries whose file is called `name`, with or without `.mp4`."""
        name = name.removesuffix(".mp4").replace("\\", "\\\\")
        for special in "%_":
            name = name.replace(special, f"\\{special}")
        query = "SELECT * FROM entries WHERE path LIKE ? ESCAPE '\\' ORDER BY created DESC LIMIT ?"
        return [self._entry(row) for row in self._run(query, (f"%/{name}.mp4", limit))]

    def select(self, filters: Filters, limit: int | None = None) -> list[Entry]:
        """Entries that pass the filters, newest first."""
        where, values = _conditions(filters)
        query = f"SELECT * FROM entries WHERE {where} ORDER BY created DESC, id DESC LIMIT ?"
        rows = self._run(query, (*values, -1 if limit is None else limit))
        return [self._entry(row) for row in rows]

    def count(self, filters: Filters) -> int:
        where, values = _conditions(filters)
        return int(self._run(f"SELECT count(*) FROM entries WHERE {where}", values)[0][0])

    def check(self, *, write: bool = True) -> None:
        """Read all of the index. Raises DamagedIndex when something in it does not fit; SQLite
        checks its word lists only where it may `write`."""
        found = self._run("PRAGMA integrity_check")[0][0]
        if found != "ok":
            raise DamagedIndex(found)
        if write:
            with self.transaction():
                self._run("INSERT INTO words (words) VALUES ('integrity-check')")
        entries, words = (
            self._run(f"SELECT rowid FROM {table} ORDER BY rowid") for table in ("entries", "words")
        )
        if [tuple(row) for row in entries] != [tuple(row) for row in words]:
            raise DamagedIndex("entries and words differ")

    def _prepare(self, *, new: bool, readonly: bool) -> None:
        run = self._connection.execute
        if not readonly and not new:
            run("PRAGMA journal_mode = WAL")
            run("PRAGMA synchronous = FULL")
            run("PRAGMA fullfsync = 1")  # macOS: plain fsync stops at the drive's cache
            run("PRAGMA checkpoint_fullfsync = 1")
        version = run("PRAGMA user_version").fetchone()[0]
        if version == 0 and not run("SELECT 1 FROM sqlite_master").fetchall():
            if readonly:
                raise DamagedIndex("the index is empty")
            self._connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")
        elif version > SCHEMA_VERSION:
            raise MlxWanError(
                f"the library's index is version {version}, made by a newer mlx-wan",
                "update mlx-wan",
            )
        elif version != SCHEMA_VERSION:
            raise DamagedIndex(f"schema version {version}")
        run("SELECT * FROM entries LIMIT 1").fetchall()
        run("SELECT rowid FROM words LIMIT 1").fetchall()

    def _run(self, query: str, values: Any = ()) -> list[sqlite3.Row]:
        with _told():
            return self._connection.execute(query, values).fetchall()

    def _entry(self, row: sqlite3.Row) -> Entry:
        values = {name: row[name] for name in _COLUMNS}
        values["archived"] = bool(row["archived"])
        values["tags"] = tuple(json.loads(row["tags"]))
        return Entry(root=self.archive if values["archived"] else self.root, **values)


def _connect(file: Path | None, readonly: bool) -> sqlite3.Connection:
    if file is None:
        connection = sqlite3.connect(":memory:", isolation_level=None)
    elif readonly:  # WAL wants to write beside the file, unless told that nobody changes it
        uri = f"{file.as_uri()}?mode=ro&immutable=1"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    else:
        connection = sqlite3.connect(file, timeout=_WAIT_SECONDS, isolation_level=None)
    connection.row_factory = sqlite3.Row
    return connection


@contextmanager
def _told() -> Iterator[None]:
    """SQLite's errors in our kinds."""
    try:
        yield
    except UnicodeEncodeError as error:  # of what a person typed: entries are checked
        raise UsageError(f"{error.object!r} is not valid Unicode text") from None
    except sqlite3.IntegrityError:
        raise  # a mistake of ours
    except sqlite3.OperationalError as error:
        text = str(error)
        if "no such" in text or "malformed" in text:
            raise DamagedIndex(text) from None
        hint = "wait for it to finish" if "locked" in text else "check space and permissions"
        raise MlxWanError(f"the library's index: {text}", hint) from None
    except sqlite3.DatabaseError as error:
        raise DamagedIndex(str(error)) from None


def _conditions(filters: Filters) -> tuple[str, list[Any]]:
    found: list[tuple[str, Any]] = []
    if filters.text.strip():
        match = _match(filters.text)
        if not match:
            return "0", []  # nothing in it that could be a word
        found.append(("rowid IN (SELECT rowid FROM words WHERE words MATCH ?)", match))
    if filters.model is not None:
        found.append(("instr(lower(model), lower(?)) > 0", filters.model))
    for tag in filters.tags:
        found.append(("EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)", tag))
    if filters.since is not None:
        found.append(("created >= ?", filters.since))
    if filters.until is not None:
        found.append(("created < ?", filters.until))
    if filters.stage is not None:
        found.append(("substr(path, 1, ?) = ?", f"{filters.stage}/"))
    if filters.archived is not None:
        found.append(("archived = ?", filters.archived))
    values: list[Any] = []
    for condition, value in found:
        values += [len(value), value] if condition.count("?") == 2 else [value]
    return " AND ".join(condition for condition, _ in found) or "1", values


def _match(text: str) -> str:
    """What a person typed as an FTS5 query: every word, or the beginning of one, must be there;
    words in double quotes in this order. FTS5's own syntax means nothing here."""
    terms = []
    for phrase, word in re.findall(r'"([^"]*)"|([^\s"]+)', text):
        spaced = _spaced(phrase or word)
        if any(unicodedata.category(letter)[0] in "LN" for letter in spaced):
            terms.append(f'"{spaced}"' if phrase else f'"{spaced}" *')
    return " ".join(terms)


# Scripts written without spaces: each letter becomes a word of its own, so that any part is found
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff])"
)


def _spaced(text: str) -> str:
    text = text.replace("\0", " ").replace('"', " ").encode("utf-8", "replace").decode()
    return _UNSPACED.sub(r" \1 ", text.replace("_", " "))
