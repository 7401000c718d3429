"""The folder of an export: everything or nothing, and nothing of anyone else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradlab.errors import MachineError, UsageError
from gradlab.export.folder import files_of, whole_folder


def fill(folder: Path, *names: str, text: str = "new") -> None:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(text)


def fail(target: Path, error: BaseException) -> None:
    with whole_folder(target, force=True, replaced="b") as folder:
        fill(folder, "a", "c/b")
        raise error


def contents(folder: Path) -> dict[str, str]:
    return {str(path): (folder / path).read_text() for path in files_of(folder)}


def test_files_appear_when_all_are_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "down"
    with whole_folder(target) as folder:
        fill(folder, "a", "in/b")
        assert [path for path in target.iterdir() if not path.name.startswith(".")] == []
    assert contents(target) == {"a": "new", "in/b": "new"}
    assert sorted(path.name for path in target.iterdir()) == ["a", "in"]


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt()])
@pytest.mark.parametrize("stands", [True, False])
def test_a_failure_leaves_what_was_there(error: BaseException, stands: bool, tmp_path: Path) -> None:
    target = tmp_path / "out"
    if stands:
        fill(target, "a", "in/b", text="old")
    with pytest.raises(type(error)):
        fail(target, error)
    assert [path.name for path in tmp_path.iterdir()] == (["out"] if stands else [])
    if stands:
        assert contents(target) == {"a": "old", "in/b": "old"}


def test_a_folder_that_holds_something_needs_force(tmp_path: Path) -> None:
    fill(tmp_path, "precious", text="old")
    with pytest.raises(UsageError, match=r"not empty.*--force"), whole_folder(tmp_path):
        pytest.fail("it was opened")
    assert contents(tmp_path) == {"precious": "old"}
    with whole_folder(tmp_path, force=True) as folder:
        fill(folder, "a")
    assert contents(tmp_path) == {"precious": "old", "a": "new"}


def test_an_empty_folder_will_do_even_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with whole_folder(tmp_path / "link") as folder:
        fill(folder, "a")
    assert contents(tmp_path / "real") == {"a": "new"}
    assert (tmp_path / "link").is_symlink()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    fill(tmp_path, "file")
    with pytest.raises(UsageError, match="is a file"), whole_folder(tmp_path / "file", force=True):
        pytest.fail("it was opened")
    with pytest.raises(MachineError, match="file"), whole_folder(tmp_path / "file" / "below"):
        pytest.fail("it was opened")


def test_what_an_earlier_export_left_goes_and_nothing_else(tmp_path: Path) -> None:
    fill(tmp_path, "events", "one/events", "two/events", "two/notes", "deep/er/events", text="old")
    fill(tmp_path, ".gradlab-export-killed/half", text="old")
    with whole_folder(tmp_path, force=True, replaced="events") as folder:
        fill(folder, "events", "three/events")
    kept = {"two/notes": "old", "deep/er/events": "old"}
    assert contents(tmp_path) == {"events": "new", "three/events": "new"} | kept
    assert not (tmp_path / "one").exists()


def test_errors_of_the_machine_name_the_folder(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="/out: No space left"), whole_folder(tmp_path / "out"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []
