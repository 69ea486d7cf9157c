"""SHA-256 in a thread of its own: it is as slow as all the rest of a conversion together."""

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

HASH_BEHIND = 4


class Digest:
    """Data given to `update` must stay as it is until HASH_BEHIND further calls have returned."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1)
        self._pending: deque[Future[None]] = deque()

    def update(self, data: Any) -> None:
        if len(self._pending) >= HASH_BEHIND:
            self._pending.popleft().result()
        self._pending.append(self._thread.submit(self._hash.update, data))

    def hexdigest(self) -> str:
        """Wait for all of it. The digest cannot be used afterwards."""
        self.close()
        return self._hash.hexdigest()

    def close(self) -> None:
        """Let go of the thread once it has hashed what it was given."""
        self._thread.shutdown()
