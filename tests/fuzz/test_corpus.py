"""The files that fuzzing starts from, and those that it once found: read, or refused by one of gradlab's errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import CORPUS, TARGETS

FILES = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_no_file_of_the_corpus_is_more_than_an_error_of_gradlab(file: Path, tmp_path: Path) -> None:
    TARGETS[file.parent.name](tmp_path, file.read_bytes())


def test_every_target_has_files_to_start_from() -> None:
    assert {file.parent.name for file in FILES} == set(TARGETS)
