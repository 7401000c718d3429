"""A document's values and the places of each stay together when something is taken out."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.config.document import Document, Loc, Place

TREES = st.recursive(
    st.none(), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner), max_leaves=12
)


def numbered(tree: Any, loc: Loc, document: Document) -> Any:
    """The tree with a number of its own at each leaf, which is also its place."""
    number = len(document.values)
    document.values[loc] = Place(0, number, 1, f"c.yaml:{number}:1")
    if isinstance(tree, list):
        return [numbered(item, (*loc, index), document) for index, item in enumerate(tree)]
    if isinstance(tree, dict):
        document.keys |= {(*loc, key): Place(0, number, 2, key) for key in tree}
        return {key: numbered(item, (*loc, key), document) for key, item in tree.items()}
    return number


def leaves(tree: Any, loc: Loc = ()) -> dict[Loc, int]:
    inner = enumerate(tree) if isinstance(tree, list) else tree.items() if isinstance(tree, dict) else None
    if inner is None:
        return {loc: tree}
    return {place: leaf for step, item in inner for place, leaf in leaves(item, (*loc, step)).items()}


@settings(deadline=None)
@given(TREES, st.data())
def test_what_stays_keeps_its_place(tree: Any, data: st.DataObject) -> None:
    document = Document(None)
    document.root = numbered(tree, (), document)
    before = leaves(document.root)
    inside = [loc for loc in document.values if loc]
    chosen = data.draw(st.lists(st.sampled_from(inside), unique=True)) if inside else []
    gone = [loc for loc in chosen if not any(loc[:depth] in chosen for depth in range(1, len(loc)))]
    document.remove(gone)
    after = leaves(document.root)
    taken = [number for loc, number in before.items() if any(loc[: len(out)] == out for out in gone)]
    assert [number for number in after.values() if number is not None] == [
        number for number in before.values() if number not in taken
    ]
    assert {loc: place.line for loc, place in document.values.items() if loc in after} == after
    for loc in document.keys:
        parent = document.get(*loc[:-1])
        assert loc[-1] in parent
