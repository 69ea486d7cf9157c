"""Small files from outside, and files that are whole or absent."""

import os
from pathlib import Path

import pytest

from mlx_wan.errors import BadFileError, UsageError
from mlx_wan.files import MissingFileError, read_small


def test_a_small_file_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"12345")
    assert read_small(path, 5) == b"12345"
    with pytest.raises(BadFileError, match=r"^the list is too large; accepted: up to 4 bytes"):
        read_small(path, 4, what="the list")


def test_what_is_no_file_is_told_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path, tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(UsageError, match="the list is not a file"):
            read_small(tmp_path / path, 5, what="the list")
    for path in ("missing", "pipe/inside"):
        with pytest.raises(MissingFileError, match="does not exist"):
            read_small(tmp_path / path, 5, hint="make one")
    for path in ("loop", "a\0b"):
        with pytest.raises(UsageError, match="cannot be read"):
            read_small(tmp_path / path, 5)
    assert len(list(Path("/dev/fd").iterdir())) < 100  # none was left open
