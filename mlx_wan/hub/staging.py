"""What was downloaded as one folder to convert: links to exactly the files of a model.

A snapshot in the cache can hold more, such as other versions of a transformer, and a model can be
made of several of them.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlx_wan.errors import BadFileError, ModelError
from mlx_wan.files import locked, make_folder
from mlx_wan.settings import shown

from .download import Snapshot


@contextmanager
def staged(snapshots: Iterable[Snapshot], folder: Path) -> Iterator[Path]:
    """`folder` with OWNER/NAME/PATH for every file, for as long as the `with` lasts.

    It is always the same one for a model, as a conversion that was stopped is taken up by the
    names of its files. Raises ModelError while another process uses it.
    """
    make_folder(folder)
    busy = ModelError(f"{folder} is being converted", "wait for it, or stop it")
    with locked(folder, busy=busy):
        _empty(folder)  # an earlier one may have been killed
        try:
            for snapshot in snapshots:
                for file in snapshot.listing.files:
                    path = folder / snapshot.listing.repo / file.path
                    if not path.resolve().is_relative_to(folder.resolve()):
                        raise BadFileError(f"{shown(file.path)} is no name of a downloaded file")
                    make_folder(path.parent)
                    _link(snapshot.folder / file.path, path)
            yield folder
        finally:
            _empty(folder)
            with suppress(OSError):
                folder.rmdir()


def _link(target: Path, path: Path) -> None:
    try:
        path.symlink_to(target.resolve())
    except OSError:  # a file system without links of this kind
        try:
            os.link(target.resolve(), path)
        except OSError as error:
            raise ModelError(
                f"{path} cannot be made as a link to {target}: {error.strerror}",
                "set MLX_WAN_HOME to a folder on the disk of the hub's cache",
            ) from None


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)  # follows no link
        else:
            entry.unlink()
