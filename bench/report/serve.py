"""Blind votes in the browser: a small server that only this machine can reach.

It answers to its own name only (a page of another name that was pointed here gets nothing), takes
votes only as JSON from its own page (a form of another page cannot send that), and never makes a
path of what a request says: a video is asked for by a random word it gave out itself.
"""

import json
import os
import re
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shlex import quote
from typing import Any, BinaryIO

from mlx_wan.bench.ab.results import read_experiment, read_runs
from mlx_wan.errors import MlxWanError, UsageError
from mlx_wan.tensorfile import strict_json

from .media import is_mp4, videos_of
from .questions import Voting
from .vote_page import vote_page
from .votes import FILE, read_votes

HOST = "127.0.0.1"
_MAX_BODY = 4096
_CHUNK = 1 << 18
_SECONDS = 30  # a connection that says nothing for so long is closed
_RANGE = re.compile(r"bytes=(\d{1,15})-(\d{0,15})")
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class VoteServer(ThreadingHTTPServer):
    """Serves a result folder's questions; `url` is where. Port 0 takes a free one."""

    daemon_threads = True
    allow_reuse_address = os.name != "nt"

    def __init__(self, directory: Path, port: int = 0):
        if type(port) is not int or not 0 <= port <= 65535:
            raise UsageError(f"port is {port}", "accepted: 0 to 65535; 0 takes a free one")
        experiment = read_experiment(Path(directory))
        videos = videos_of(experiment, read_runs(experiment))
        self.voting = Voting(experiment, videos, read_votes(experiment.folder)[0])
        votes = experiment.folder / FILE
        if not os.access(votes if votes.exists() else experiment.folder, os.W_OK):
            raise MlxWanError(
                f"votes cannot be stored in {experiment.folder}", "check its permissions"
            )
        if not self.voting.total:
            raise UsageError(
                f"{directory} has no two videos of the same prompt and seed",
                "let `mlx-wan bench ab` finish first",
            )
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise UsageError(
                f"port {port} cannot be used: {error.strerror}", "leave --port out for a free one"
            ) from None
        self.url = f"http://{HOST}:{self.server_port}/"
        names = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}
        self.hosts, self.origins = names, {f"http://{name}" for name in names}
        self.page = vote_page().encode()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no event; anything else is one, without ending the rest."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def serve_votes(
    directory: Path,
    port: int = 0,
    *,
    announce: Callable[[str], None] = lambda url: print(url, flush=True),
) -> None:
    """Serve until Ctrl-C. `announce` is told the address once it can be opened.

    Raises UsageError when there is nothing to vote on or the port is taken.
    """
    with VoteServer(directory, port) as server:
        try:
            announce(server.url)
            print("open this page to vote; Ctrl-C ends it, the votes are kept", file=sys.stderr)
            server.serve_forever()
        except KeyboardInterrupt:
            print(
                f"\nto count the votes: mlx-wan bench report {quote(str(directory))}",
                file=sys.stderr,
            )


class _Handler(BaseHTTPRequestHandler):
    server: VoteServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "mlx-wan", ""
    timeout = _SECONDS

    def do_GET(self) -> None:
        if not self._is_ours():
            return
        if self.path == "/":
            self._send(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")
            return
        if self.path.startswith("/video/"):
            self._send_video(self.server.voting.video(self.path.removeprefix("/video/")))
            return
        self._refuse(HTTPStatus.NOT_FOUND, "there is nothing here")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.close_connection = True  # whatever is left of a refused body is not read as a request
        if not self._is_ours(posting=True):
            return
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "only application/json is taken")
            return
        if not re.fullmatch(r"\d{1,6}", length) or int(length) > _MAX_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body has no length, or too much")
            return
        try:
            data = strict_json(self.rfile.read(int(length)))
            if not isinstance(data, dict):
                raise ValueError("it is no object")
        except ValueError:
            self._refuse(HTTPStatus.BAD_REQUEST, "the body is not a JSON object")
            return
        voting = self.server.voting
        try:
            if self.path == "/next":
                told = voting.next_question(data.get("rater"))
            elif self.path == "/vote":
                told = voting.answer(data.get("id"), data.get("choice"))
            else:
                self._refuse(HTTPStatus.NOT_FOUND, "there is nothing here")
                return
        except UsageError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except MlxWanError as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        else:
            self._send(HTTPStatus.OK, json.dumps(told).encode(), "application/json")

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: which videos a browser takes is no news."""

    def _is_ours(self, posting: bool = False) -> bool:
        """Asked for by our name, and by our own page where a browser says by whom."""
        hosts, origins = self.headers.get_all("Host", []), self.headers.get_all("Origin", [])
        if len(hosts) != 1 or hosts[0] not in self.server.hosts:
            self._refuse(HTTPStatus.FORBIDDEN, "this server has another name")
            return False
        if len(origins) > 1 or not set(origins) <= self.server.origins or (posting and not origins):
            self._refuse(HTTPStatus.FORBIDDEN, "this was asked by another page")
            return False
        if self.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            self._refuse(HTTPStatus.FORBIDDEN, "this was asked by another page")
            return False
        return True

    def _send_video(self, path: Path | None) -> None:
        if path is None or not is_mp4(path):
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such video")
            return
        try:
            number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such video")
            return
        with os.fdopen(number, "rb") as file:
            size = os.fstat(number).st_size
            span = _range(self.headers.get("Range"), size)
            if span is None:
                self._refuse(
                    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                    "there is no such part",
                    {"Content-Range": f"bytes */{size}"},
                )
                return
            first, last, partial = span
            headers = {"Accept-Ranges": "bytes"}
            if partial:
                headers["Content-Range"] = f"bytes {first}-{last}/{size}"
            status = HTTPStatus.PARTIAL_CONTENT if partial else HTTPStatus.OK
            self._start(status, last - first + 1, "video/mp4", headers)
            if self.command != "HEAD":
                file.seek(first)
                self._copy(file, last - first + 1)

    def _copy(self, file: BinaryIO, count: int) -> None:
        while count > 0:
            chunk = file.read(min(_CHUNK, count))
            if not chunk:  # it became shorter meanwhile
                self.close_connection = True
                return
            self.wfile.write(chunk)
            count -= len(chunk)

    def _refuse(
        self, status: HTTPStatus, reason: str, headers: dict[str, str] | None = None
    ) -> None:
        body = json.dumps({"error": reason}).encode()
        self._send(status, body, "application/json", headers)

    def _send(
        self,
        status: HTTPStatus,
        body: bytes,
        kind: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._start(status, len(body), kind, headers or {})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _start(self, status: HTTPStatus, length: int, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()


def _range(header: str | None, size: int) -> tuple[int, int, bool] | None:
    """First and last byte, and whether that is a part; None when there is no such part."""
    if header is None:
        return 0, size - 1, False
    found = _RANGE.fullmatch(header.strip())
    if not found:
        return 0, size - 1, False  # several parts, or another unit: all of it
    first = int(found[1])
    last = min(int(found[2]) if found[2] else size - 1, size - 1)
    return (first, last, True) if first <= last else None
