"""A hub on this machine, with faults: what the real one answers, as far as a download needs it.

    with FakeHub({"OWNER/NAME": {"config.json": b"{}", "big.safetensors": b"..."}}) as hub:
        hub.faults = [Fault("cut", "cdn", at=100)]

It answers as huggingface.co does: the listing with blobs, small files at once with their git hash
as ETag, `*.safetensors`, `*.pth` and `*.model` by a redirect to another host (another port here)
that knows ranges. Models' commits are hashes of their contents.
"""

import hashlib
import json
import random
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from mlx_wan.hub.transport import Patience

REPO = "Maker/Model"
_RANDOM = random.Random(7)
FILES = {
    "config.json": _RANDOM.randbytes(901),
    "model.safetensors": _RANDOM.randbytes(70_001),
    "README.md": b"not wanted",
}
SIZE = {"file": len(FILES["config.json"]), "cdn": len(FILES["model.safetensors"])}
NAME = {"file": "config.json", "cdn": "model.safetensors"}
QUICK = Patience(tries=3, wait=0, longest=1)
LARGE = (".safetensors", ".pth", ".model")
ALWAYS = 1_000_000


@dataclass
class Fault:
    """Something that goes wrong the next `times` times. `where`: "info", "file", "cdn"."""

    kind: str
    where: str = "cdn"
    times: int = ALWAYS
    at: int = 0  # a byte, a status, seconds
    value: Any = None
    skip: int = 0  # answers that are right before


@dataclass
class Asked:
    """A request as it came."""

    where: str
    method: str
    path: str
    range: str | None
    authorization: str | None


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class FakeHub:
    repos: Mapping[str, Mapping[str, bytes]]
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    token: str | None = None  # what must be shown, if anything
    gated: set[str] = field(default_factory=set)  # repositories whose files nobody gets
    change_listing: Callable[[dict[str, Any]], Any] | None = None

    def __enter__(self) -> "FakeHub":
        self.servers = [self._serve(place) for place in ("hub", "cdn", "stranger")]
        self.url, self.cdn, self.stranger = (
            f"http://127.0.0.1:{server.server_address[1]}" for server in self.servers
        )
        return self

    def __exit__(self, *_: Any) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def _serve(self, place: str) -> ThreadingHTTPServer:
        handler = type("Handler", (_Handler,), {"hub": self, "place": place})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server

    def commit(self, repo: str) -> str:
        digest = hashlib.sha1()
        for path, data in sorted(self.repos[repo].items()):
            digest.update(f"{path}\0{sha256(data)}\n".encode())
        return digest.hexdigest()

    def listing(self, repo: str) -> dict[str, Any]:
        return {
            "id": repo,
            "sha": self.commit(repo),
            "gated": "auto" if repo in self.gated else False,
            "private": False,
            "siblings": [_sibling(path, data) for path, data in self.repos[repo].items()],
        }

    def take(self, where: str) -> Fault | None:
        """The fault that this answer shall have."""
        for fault in self.faults:
            if fault.where == where and fault.times > 0:
                if fault.skip:
                    fault.skip -= 1
                    return None
                fault.times -= 1
                return fault
        return None

    def count(self, where: str) -> int:
        return sum(asked.where == where for asked in self.asked)


def _sibling(path: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": git_sha1(data)}
    if path.endswith(LARGE):
        pointer = b"version https://git-lfs.github.com/spec/v1\n" + sha256(data).encode()
        entry["blobId"] = git_sha1(pointer)
        entry["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": len(pointer)}
    return entry


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    place: str
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.close_connection = True
        path = unquote(urlsplit(self.path).path)
        where = "info" if path.startswith("/api/") else "file"
        where = where if self.place == "hub" else self.place
        self.hub.asked.append(
            Asked(
                where,
                self.command,
                self.path,
                self.headers.get("Range"),
                self.headers.get("Authorization"),
            )
        )
        with suppress(BrokenPipeError, ConnectionResetError):  # they have hung up
            self._answer(where, path)

    def _answer(self, where: str, path: str) -> None:
        if self.place == "hub" and self.hub.token is not None:
            given = self.headers.get("Authorization")
            if given != f"Bearer {self.hub.token}":
                code = {"X-Error-Code": "GatedRepo"} if given is None else {}
                self._send(401, b'{"error": "no"}', code)
                return
        if self.place == "hub" and self._is_gated(path):
            self._send(403, b'{"error": "no"}', {"X-Error-Code": "GatedRepo"})
            return
        if path.endswith("/auth-check"):
            self._send(200, b'"OK"')
            return
        fault = self.hub.take(where)
        if where == "info":
            self._info(path, fault)
        elif where == "file":
            self._file(path, fault)
        else:
            self._large(path, fault)

    def _is_gated(self, path: str) -> bool:
        """Whether it asks for a file of a gated repository, or for leave; listings are public."""
        parts = path.split("/")
        if path.startswith("/api/"):
            return path.endswith("/auth-check") and "/".join(parts[3:5]) in self.hub.gated
        return "/".join(parts[1:3]) in self.hub.gated

    def _info(self, path: str, fault: Fault | None) -> None:
        parts = path.split("/")
        repo, revision = "/".join(parts[3:5]), "/".join(parts[6:]) or "main"
        if repo not in self.hub.repos:
            self._send(404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})
            return
        listing = self.hub.listing(repo)
        if revision not in ("main", "v1", listing["sha"]):
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return
        if self.hub.change_listing:
            changed = self.hub.change_listing(listing)
            listing = listing if changed is None else changed
        body = listing if isinstance(listing, bytes) else json.dumps(listing).encode()
        self._body(body, {"Content-Type": "application/json"}, fault)

    def _file(self, path: str, fault: Fault | None) -> None:
        parts = path.split("/")
        repo, revision, name = "/".join(parts[1:3]), parts[4], "/".join(parts[5:])
        files = self.hub.repos.get(repo, {})
        if name not in files:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        data = files[name]
        commit = self.hub.commit(repo)
        headers = {"X-Repo-Commit": commit if revision in ("main", commit) else "0" * 40}
        kind = fault.kind if fault else ""
        if kind == "wrong commit":
            headers["X-Repo-Commit"] = "f" * 40
        if not name.endswith(LARGE):
            headers["ETag"] = f'"{git_sha1(data)}"'
            if kind == "wrong etag":
                headers["ETag"] = f'"{"0" * 40}"'
            self._body(data, headers, fault)
            return
        headers |= {"X-Linked-Etag": f'"{sha256(data)}"', "X-Linked-Size": str(len(data))}
        if kind == "wrong etag":
            headers["X-Linked-Etag"] = f'"{"0" * 64}"'
        if kind == "wrong size":
            headers["X-Linked-Size"] = str(len(data) + 1)
        headers["Location"] = f"{self.hub.cdn}/{quote(repo)}/{quote(name)}?signature=SIGNED"
        if kind in _BODIES and kind not in ("wrong commit", "wrong etag"):
            self._body(data, headers, fault)
            return
        self._send(302, b"", headers)

    def _large(self, path: str, fault: Fault | None) -> None:
        parts = path.split("/")
        data = self.hub.repos.get("/".join(parts[1:3]), {}).get("/".join(parts[3:]))
        if data is None:
            self._send(404, b"")
            return
        self._body(data, {"ETag": '"md5-of-the-store"', "Accept-Ranges": "bytes"}, fault)

    def _body(self, data: bytes, headers: dict[str, str], fault: Fault | None) -> None:
        if fault is not None and fault.kind in _BODIES:
            _BODIES[fault.kind](self, data, headers, fault)
        else:
            self.right(data, headers)

    def start(self, data: bytes) -> int:
        """Where the answer begins, by the Range they sent."""
        asked = self.headers.get("Range") or ""
        digits = asked.removeprefix("bytes=").removesuffix("-")
        return min(int(digits), len(data)) if digits.isdecimal() else 0

    def right(self, data: bytes, headers: dict[str, str]) -> None:
        start = self.start(data)
        if not start:
            self._send(200, data, headers)
            return
        if start >= len(data):
            self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        span = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        self._send(206, data[start:], headers | span)

    def _send(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        length: int | str | None = None,
    ) -> None:
        """Status, headers, body; `length` other than the body's, or "" for none."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if length != "":
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    send = _send

    def partly(self, data: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of the right answer, to be spoiled."""
        start = self.start(data)
        if not start:
            return 200, data, dict(headers)
        span = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        return 206, data[start:], headers | span


def _cut(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    status, body, headers = handler.partly(data, headers)
    handler.send(status, body[: fault.at], headers, len(body))


def _cut_silently(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    status, body, headers = handler.partly(data, headers)
    handler.send(status, body[: fault.at], headers, "")


def _cut_chunked(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    status, body, headers = handler.partly(data, headers)
    part = body[: fault.at]
    chunked = f"{len(part):x}\r\n".encode() + part + b"\r\n" if part else b""
    handler.send(status, chunked, headers | {"Transfer-Encoding": "chunked"}, "")


def _short(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    status, body, headers = handler.partly(data, headers)
    handler.send(status, body[: max(len(body) - 1 - fault.at, 0)], headers)


def _long(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    status, body, headers = handler.partly(data, headers)
    handler.send(status, body + b"x" * (1 + fault.at), headers)


def _endless(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    status, body, headers = handler.partly(data, headers)
    handler.send(status, body, headers, "")
    while True:  # until they hang up
        handler.wfile.write(b"x" * 65536)


def _flip(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    status, body, headers = handler.partly(data, headers)
    spoiled = bytearray(body)
    spoiled[fault.at % len(spoiled)] ^= 1
    handler.send(status, bytes(spoiled), headers)


def _zeros(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    status, body, headers = handler.partly(data, headers)
    handler.send(status, bytes(len(body)), headers)


def _swapped(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    status, body, headers = handler.partly(data, headers)
    handler.send(status, body[::-1], headers)


def _whole(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    handler.send(200, data, headers)


def _other_range(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    start = handler.start(data)
    if not start:
        handler.right(data, headers)
        return
    if fault.value == "shifted":  # says what was asked, sends something else
        span = f"bytes {start}-{len(data) - 1}/{len(data)}"
        handler.send(206, data[: len(data) - start], headers | {"Content-Range": span})
    elif fault.value == "none":
        handler.send(206, data[start:], headers)
    else:
        span = f"bytes 0-{len(data) - 1}/{len(data)}"
        handler.send(206, data, headers | {"Content-Range": span})


def _status(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    handler.send(fault.at, b"<html>no</html>", fault.value or {})


def _html(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    page = b"<!doctype html><title>Please log in</title>"
    size = fault.at or len(page)
    kind = {"Content-Type": "text/html; charset=utf-8"}
    handler.send(200, page.ljust(size)[:size], kind, fault.value)


def _empty(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    handler.send(fault.at or 200, b"", headers)


def _redirect(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    target = fault.value or handler.path  # to itself: round in circles
    kept = {k: v for k, v in headers.items() if k != "Location"}
    handler.send(302, b"", kept | {"Location": target})


def _no_location(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    handler.send(302, b"")


def _reset(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    if fault.at:
        status, body, headers = handler.partly(data, headers)
        handler.send(status, body[: fault.at], headers, len(body))
    handler.connection.close()
    raise BrokenPipeError


def _garbage(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    handler.wfile.write(fault.value or b"\x00\x01 this is no HTTP\r\n\r\n")


def _stall(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    status, body, headers = handler.partly(data, headers)
    handler.send(status, body[: fault.at], headers, len(body))
    time.sleep(fault.value or 0.3)


def _slow(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    status, body, headers = handler.partly(data, headers)
    handler.send(status, b"", headers, len(body))
    step = max(len(body) // 8, 1)
    for start in range(0, len(body), step):
        handler.wfile.write(body[start : start + step])
        time.sleep(fault.value or 0.005)


def _packed(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    status, body, headers = handler.partly(data, headers)
    raw = body if not fault.at else bytes(fault.at)  # or a bomb
    handler.send(status, zlib.compress(raw), headers | {"Content-Encoding": "deflate"})


def _not_packed(handler: _Handler, data: bytes, headers: dict[str, str], fault: Fault) -> None:
    status, body, headers = handler.partly(data, headers)
    handler.send(status, body, headers | {"Content-Encoding": "gzip"})


_BODIES: dict[str, Callable[[_Handler, bytes, dict[str, str], Fault], None]] = {
    "cut": _cut,
    "cut silently": _cut_silently,
    "cut chunked": _cut_chunked,
    "short": _short,
    "long": _long,
    "endless": _endless,
    "flip": _flip,
    "zeros": _zeros,
    "swapped": _swapped,
    "whole": _whole,
    "other range": _other_range,
    "status": _status,
    "html": _html,
    "empty": _empty,
    "redirect": _redirect,
    "no location": _no_location,
    "reset": _reset,
    "garbage": _garbage,
    "stall": _stall,
    "slow": _slow,
    "packed": _packed,
    "not packed": _not_packed,
}
