"""What is generated stands in the documentation as it would be generated now, and is whole."""

from __future__ import annotations

import re

import pytest

from gradlab import errors
from gradlab.analysis.layerwise import STATISTICS
from gradlab.config.fields import ALL_SECTIONS
from gradlab.store.tables import TABLES
from tests.website.fences import PAGES, ROOT
from website.blocks import filled, names, table
from website.command_line import commands
from website.reference import all_generators, defined_statistics, up_to_date

TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}


@pytest.mark.parametrize("page", [page for page in PAGES if names(TEXTS[page])])
def test_pages_are_up_to_date(page: str) -> None:
    assert TEXTS[page] == up_to_date(TEXTS[page]), "python -m website brings it up to date"


def test_every_generated_part_stands_once() -> None:
    stand = [name for text in TEXTS.values() for name in names(text)]
    assert sorted(stand) == sorted(all_generators())


def test_every_field_is_described() -> None:
    """Names, ranges and defaults come from the schema; that something is said of each field is up to who adds it."""
    page = TEXTS["docs/config.md"]
    for name, section in ALL_SECTIONS.items():
        for key, field in section.model_fields.items():
            assert field.description, f"{name}.{key}"
            assert page.count(f"\n| `{name}.{key}` |") == 1


def test_every_option_stands_under_its_command() -> None:
    page = TEXTS["docs/commands.md"]
    for name, command in commands().items():
        (section,) = re.findall(rf"^## `gradlab {name}`\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
        options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
        for option in options:
            assert re.search(rf"^\| `(-\w, )?{option}\b", section, re.MULTILINE), f"{name} {option}"


def test_every_exit_code_is_explained() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \| \S", TEXTS["docs/commands.md"], re.MULTILINE)}
    assert codes == {0, *(value for name, value in vars(errors).items() if name.startswith("EXIT_"))}


def test_every_statistic_is_defined() -> None:
    """On the page of definitions, each under its own heading; a logarithm stands with what it is of."""
    defined = defined_statistics()
    assert {name for name in STATISTICS if not name.startswith("log10_")} <= defined
    columns = {column for columns in TABLES.values() for column in columns}
    assert defined <= columns
    for name in columns:
        assert name in TEXTS["docs/columns.md"]


def test_blocks_are_filled_in_place() -> None:
    page = "before\n<!-- generated: a -->\nold\n<!-- end -->\nbetween\n<!-- generated: b c -->\n<!-- end -->\nafter"
    new = filled(page, {"a": lambda: "one", "b c": lambda: "two"})
    assert new.split("\n\n")[1::2] == ["one", "two"]
    assert filled(new, {"a": lambda: "one", "b c": lambda: "two"}) == new
    assert names(new) == ["a", "b c"]
    with pytest.raises(KeyError):
        filled(page, {})


def test_bars_in_cells_are_escaped() -> None:
    assert table(["x"], [["a|b"]]).splitlines()[-1] == "| a\\|b |"
