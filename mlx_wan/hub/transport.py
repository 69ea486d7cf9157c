"""Asking the hub: one request, its answer, and every way it can fail in our words.

Nothing a server says is repeated to the person, and no address with its query: both can hold
tokens. Redirects are followed; the token goes to the hub's own address only.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from mlx_wan.errors import BadFileError, ModelError

MAX_JSON = 20_000_000


@dataclass(frozen=True)
class Patience:
    """How often and how long to wait for the hub. Times in seconds.

    After `tries` failures in a row it is given up; one that brought `progress` bytes counts as the
    first. A server that asks to come back later than in `longest` is told to the person instead.
    """

    tries: int = 5
    wait: float = 1.0  # before the second try; doubled each time
    longest: float = 60.0
    progress: int = 1_000_000


PATIENCE = Patience()


class TransientError(Exception):
    """It may work when asked again: a cut connection, a busy server.

    `after` is what the server asks to wait, in seconds; `told` is the error when it never works.
    """

    def __init__(self, told: ModelError, after: float | None = None):
        super().__init__(told.message)
        self.told, self.after = told, after


class OfflineError(ModelError):
    """The hub cannot be reached at all."""


class NoAccessError(ModelError):
    """The hub knows it and does not give it to whoever asks."""


def endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


def is_hub(response: Any) -> bool:
    """Whether an answer is of the hub itself, not of where it keeps large files."""
    return response.url.netloc.decode() == urlsplit(endpoint()).netloc


def is_offline() -> bool:
    """Whether `HF_HUB_OFFLINE` forbids going online."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


@contextmanager
def opened(url: str, what: str, headers: dict[str, str] | None = None) -> Iterator[Any]:
    """The answer to a GET, with status 200 or 206 and its body still to be read.

    `what` is asked for, in words. Raises ModelError, or TransientError where a second try may help;
    the same for errors while the body is read inside the `with`.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    try:
        with get_session().stream(
            "GET",
            url,
            headers={**_identity(), **(headers or {})},
            timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
            follow_redirects=True,
        ) as response:
            if response.status_code not in (200, 206):
                _refuse(response, what)
            yield response
    except (ModelError, TransientError):
        raise
    except Exception as error:
        if not _is_transport(error):
            raise
        raise _failure(error, what) from None


def read_body(url: str, what: str, patience: Patience | None = None) -> bytes:
    """The whole body of a small answer. Raises BadFileError when it is larger than MAX_JSON."""
    body = bytearray()
    for attempt in attempts(patience or replace(PATIENCE, tries=3)):  # offline is told soon
        with attempt, opened(url, what) as response:
            body.clear()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_JSON:
                    raise BadFileError(
                        f"{what}: the hub's answer is larger than {MAX_JSON:,} bytes"
                    )
            attempt.succeeded = True
    return bytes(body)


class Attempt:
    """One try of several: catches TransientError and says through `gained` whether it helped."""

    def __init__(self) -> None:
        self.succeeded = False
        self.gained = 0  # bytes that need not be fetched again
        self.error: TransientError | None = None

    def __enter__(self) -> "Attempt":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        if isinstance(error, TransientError):
            self.error = error
            return True
        return False


def attempts(patience: Patience | None = None) -> Iterator[Attempt]:
    """Tries until one succeeded, waiting between them. Raises the last error's ModelError."""
    patience = patience or PATIENCE
    failures = 0
    while True:
        attempt = Attempt()
        yield attempt
        if attempt.succeeded:
            return
        assert attempt.error is not None
        failures = 1 if attempt.gained >= patience.progress else failures + 1
        after = attempt.error.after
        if failures >= patience.tries or (after is not None and after > patience.longest):
            raise attempt.error.told
        time.sleep(min(patience.wait * 2 ** (failures - 1), 8) if after is None else after)


def _identity() -> dict[str, str]:
    """Who asks. The token is for the hub; the session drops it at a redirect to another host."""
    from huggingface_hub import constants, get_token

    from mlx_wan import __version__

    # packed bytes could not be taken up in the middle
    headers = {"user-agent": f"mlx-wan/{__version__}", "accept-encoding": "identity"}
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    if token:
        if not token.isascii() or not token.isprintable() or " " in token:
            raise ModelError(
                "the hub's token holds characters that no token has",
                "set HF_TOKEN again, or log in with `hf auth login`",
            )
        headers["authorization"] = f"Bearer {token}"
    return headers


def _refuse(response: Any, what: str) -> None:
    """Raise what a status other than 200 and 206 means."""
    from huggingface_hub import get_token

    status, code = response.status_code, response.headers.get("X-Error-Code", "")
    host = response.url.host
    at_hub = is_hub(response)
    if status == 429:
        raise _too_many(response, what)
    if status in (408, 500, 502, 503, 504) or (status in (401, 403) and not at_hub):
        told = ModelError(
            f"{what}: {host} has a fault (HTTP {status})",
            "try again later; the same command goes on where it stopped",
        )
        raise TransientError(told)
    if code == "GatedRepo":
        raise NoAccessError(
            f"{what}: its authors want their terms accepted first",
            f"accept them on the model's page at {endpoint()}, then log in with `hf auth login` "
            "or set HF_TOKEN",
        )
    if code == "RevisionNotFound":
        raise ModelError(f"{what}: there is no such revision", "give a branch, tag or commit of it")
    if code == "EntryNotFound":
        raise ModelError(f"{what}: the hub has no such file at this commit", "check --revision")
    if code == "RepoNotFound" or status == 404:
        raise ModelError(
            f"{what}: the hub knows no such repository, or it is private",
            "check the name, or log in with `hf auth login`",
        )
    if status in (401, 403):
        given = "the token given was refused" if get_token() else "a login is needed"
        raise NoAccessError(
            f"{what}: {given} (HTTP {status})",
            "log in with `hf auth login`, or set HF_TOKEN to a token that may read it",
        )
    if status == 416:  # what is here already is more than they have
        told = BadFileError(f"{what}: the hub has less of it than it says", "try again later")
        raise TransientError(told)
    raise ModelError(f"{what}: {host} answered with HTTP {status}", "try again later")


def _too_many(response: Any, what: str) -> TransientError:
    from huggingface_hub.utils import parse_ratelimit_headers

    given = response.headers.get("Retry-After", "")
    after = int(given) if given.isdecimal() and len(given) < 7 else None
    limit = parse_ratelimit_headers(response.headers)
    if after is None and limit is not None:
        after = limit.reset_in_seconds
    when = "later" if after is None else f"in {after} s" if after < 120 else f"in {after // 60} min"
    told = ModelError(
        f"{what}: the hub gets too many requests from here",
        f"try again {when}; it goes on where it stopped. With a login (`hf auth login`) the limit "
        "is higher",
    )
    return TransientError(told, after)


def _is_transport(error: Exception) -> bool:
    """Errors of the hub client's HTTP library, whichever it is, and of the network below it."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    library = type(error).__module__.partition(".")[0]
    return library in ("httpx", "httpx2", "httpcore", "httpcore2", "h11") or isinstance(
        error, OfflineModeIsEnabled | ConnectionError | TimeoutError
    )


def _failure(error: Exception, what: str) -> ModelError | TransientError:
    from huggingface_hub.errors import OfflineModeIsEnabled

    kind = type(error).__name__
    if isinstance(error, OfflineModeIsEnabled):
        return OfflineError(f"{what}: HF_HUB_OFFLINE forbids going online", "unset it")
    if kind == "TooManyRedirects":
        return ModelError(f"{what}: the hub sends the question round in circles", "try again later")
    if kind in ("UnsupportedProtocol", "InvalidURL", "LocalProtocolError"):
        return ModelError(
            f"{what}: the hub's answer cannot be followed ({kind})",
            "check HF_ENDPOINT and the proxy settings",
        )
    host = urlsplit(endpoint()).hostname
    if kind in ("ConnectError", "ConnectTimeout", "ProxyError", "PoolTimeout"):
        offline = OfflineError(
            f"{what}: {host} cannot be reached",
            "go online and give the same command again; --offline uses what is here already",
        )
        return TransientError(offline)
    how = "nothing came for too long" if "Timeout" in kind else "the connection was cut"
    if kind == "DecodingError":
        how = "what came cannot be unpacked"
    told = ModelError(
        f"{what}: {how}, again and again",
        "what came is kept: the same command goes on where it stopped",
    )
    return TransientError(told)
