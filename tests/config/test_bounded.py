"""Files are read whole only where they are regular files of a size that makes sense."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gradlab.config.bounded import UnreadableFileError, read_bounded


def test_a_file_of_at_most_the_bound_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(100)))
    assert read_bounded(path, 100) == bytes(range(100))
    with pytest.raises(UnreadableFileError, match=r"file: is larger than 99 bytes"):
        read_bounded(path, 99)


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_bounded(tmp_path / "link", 10) == b"x"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableFileError, match=r"pipe: is no regular file .*; name a file"):
        read_bounded(tmp_path / "pipe", 10)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/stdin", "/dev/null"])
def test_a_device_is_not_read(device: str) -> None:
    if not Path(device).exists() or Path(device).is_file():
        pytest.skip(f"no device {device}")
    with pytest.raises(UnreadableFileError, match="is no regular file"):
        read_bounded(Path(device), 10)


@pytest.mark.parametrize(
    ("name", "told"),
    [("none", "there is no such file"), (".", "is a folder"), ("a\0b", "cannot be read"), ("x" * 5000, "too long")],
)
def test_what_is_wrong_is_told_with_the_path(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(UnreadableFileError, match=told) as caught:
        read_bounded(tmp_path / name, 10)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert caught.value.path == tmp_path / name
