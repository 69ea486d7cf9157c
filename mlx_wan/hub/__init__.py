"""Published checkpoints from the Hugging Face hub into its own cache, each file checked before use.

    listing = list_files(repo, revision)      # one commit, its files with sizes and hashes
    wanted = choose(listing, patterns)        # only what is needed
    check_access(wanted)                      # gated ones need a token
    snapshot = download(wanted)               # cut connections are taken up again

A model of several repositories is brought by `download_all`, with one progress and one check of the
disk, and given to the conversion as one folder by `staging`.

The hub's client gives the session (proxies, certificates, `HF_ENDPOINT`, offline mode), the token
and the layout of the cache. The bytes are fetched here: the client checks sizes but no hashes, and
since version 2 it begins an interrupted file again.
"""

from .access import check_access
from .download import Snapshot, download, download_all, missing_bytes
from .listing import Listing, Pin, RemoteFile, choose, list_files
from .verify import check_files

__all__ = [
    "Listing",
    "Pin",
    "RemoteFile",
    "Snapshot",
    "check_access",
    "check_files",
    "choose",
    "download",
    "download_all",
    "list_files",
    "missing_bytes",
]
