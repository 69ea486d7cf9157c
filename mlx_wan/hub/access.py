"""Gated repositories: whether this token may read one is asked before anything is fetched.

Their listing is public and their files are not. Without this, a model of several repositories would
be refused after the first of them had come.
"""

from mlx_wan.errors import ModelError

from .download import missing_bytes
from .listing import Listing
from .transport import NoAccessError, Patience, endpoint, read_body


def way_in(repo: str) -> str:
    """How one comes to read a gated repository."""
    return (
        f"accept its terms at {endpoint()}/{repo}, then log in with `hf auth login` or set HF_TOKEN"
    )


def check_access(listing: Listing, patience: Patience | None = None) -> None:
    """Raise ModelError when files of a gated repository would be refused. Asks the hub.

    What is here already needs no permission.
    """
    if not listing.gated or not missing_bytes(listing):
        return
    try:
        read_body(f"{endpoint()}/api/models/{listing.repo}/auth-check", listing.repo, patience)
    except NoAccessError as refused:
        raise ModelError(refused.message, way_in(listing.repo)) from None
    except ModelError:
        return  # a mirror need not know this question; the files themselves will tell
