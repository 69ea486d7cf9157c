"""Published checkpoints from the Hugging Face hub into its own cache, each file checked before use.

    listing = list_files(repo, revision)      # one commit, its files with sizes and hashes
    wanted = choose(listing, patterns)        # only what is needed
    folder = download(wanted)                 # cut connections are taken up again

The hub's client gives the session (proxies, certificates, `HF_ENDPOINT`, offline mode), the token
and the layout of the cache. The bytes are fetched here: the client checks sizes but no hashes, and
since version 2 it begins an interrupted file again.
"""

from .download import Download, download, missing_bytes
from .listing import Listing, Pin, RemoteFile, choose, list_files
from .verify import check_files

__all__ = [
    "Download",
    "Listing",
    "Pin",
    "RemoteFile",
    "check_files",
    "choose",
    "download",
    "list_files",
    "missing_bytes",
]
