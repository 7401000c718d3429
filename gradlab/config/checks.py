"""What pydantic cannot see: seeds, the keys and lists of a sweep, options that nothing reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gradlab.config.document import Document, Loc, Unreadable, dotted
from gradlab.config.fields import is_sweep_path, sweep_path_problem
from gradlab.config.model import MODEL_READS
from gradlab.config.problems import described, value_faults
from gradlab.config.schema import (
    DATA_OPTIONS,
    MAX_SEED,
    MAX_TRIALS,
    SEQUENCES,
    Data,
    Experiment,
    Model,
    Section,
    Train,
    data_options,
    missing_options,
    required_options,
)


@dataclass(frozen=True)
class _Entry:
    """A key of the sweep with the values under it, each with its location."""

    kind: str
    loc: Loc
    path: str
    values: list[tuple[Loc, Any]]


def check_seeds(document: Document) -> None:
    """Report what is wrong with `seeds`."""
    seeds = document.get("seeds")
    if "seeds" not in document.root or isinstance(seeds, Unreadable):
        return
    place = document.at_value(("seeds",))
    if isinstance(seeds, list):
        if not seeds:
            document.report(place, "seeds is an empty list; name at least one seed")
        first: dict[int, int] = {}
        for index, seed in enumerate(seeds):
            here, path = document.at_value(("seeds", index)), f"seeds[{index}]"
            if isinstance(seed, Unreadable):
                continue
            if isinstance(seed, bool) or not isinstance(seed, int):
                document.report(here, f"{path} must be a whole number ({described(seed)})")
            elif not 0 <= seed <= MAX_SEED:
                document.report(here, f"{path} must be at least 0 ({described(seed)})")
            elif seed in first:
                document.report(here, f"{path} repeats the seed {seed} of seeds[{first[seed]}]")
            else:
                first[seed] = index
    elif isinstance(seeds, bool) or not isinstance(seeds, int):
        document.report(place, f"seeds must be a count or a list of whole numbers ({described(seeds)})")
    elif seeds < 1:
        document.report(place, f"seeds must be at least 1 ({described(seeds)}); a count runs seeds 0, 1, ...")
    elif seeds > MAX_TRIALS:
        document.report(place, f"seeds must be at most {MAX_TRIALS:,} ({described(seeds)}); list seeds to choose them")


def check_sweep(document: Document) -> None:
    """Report keys that are no field paths, lists that do not fit, and values that their fields cannot have."""
    swept: dict[str, Loc] = {}
    for entry in _entries(document):
        at_key = document.at_key(entry.loc)
        if problem := sweep_path_problem(entry.path, dotted(entry.loc[:-1])):
            document.report(at_key, *problem)
        elif entry.kind in {"grid", "zip"}:
            first = swept.setdefault(entry.path, entry.loc)
            if first != entry.loc:
                first, second = sorted((first, entry.loc), key=document.at_key)
                document.report(
                    document.at_key(second), f"{entry.path} is swept twice; it stands in {dotted(first[:-1])} already"
                )
        if not entry.values:
            document.report(document.at_value(entry.loc), f"{dotted(entry.loc)} is an empty list")
        if is_sweep_path(entry.path):
            for loc, value in entry.values:
                for fault in value_faults(entry.path, value, loc):
                    fault.report(document)
    for kind in ("zip", "exclude", "include"):
        for index, mapping in enumerate(_list(document, kind)):
            if mapping == {}:
                document.report(document.at_value(("sweep", kind, index)), f"sweep.{kind}[{index}] is an empty mapping")
            elif kind == "zip" and isinstance(mapping, dict):
                _check_lengths(document, index, mapping)


def _check_lengths(document: Document, index: int, mapping: dict[str, Any]) -> None:
    lengths = {path: len(values) for path, values in mapping.items() if isinstance(values, list) and values}
    first = next(iter(lengths), "")
    for path, length in lengths.items():
        if length != lengths[first]:
            told = f"sweep.zip[{index}].{path} has {length} values where {first} has {lengths[first]}"
            document.report(document.at_value(("sweep", "zip", index, path)), f"{told}; they advance together")


def check_count(document: Document) -> None:
    """Report a sweep of more trials than can be run, from the lengths of its lists alone."""
    seeds = document.get("seeds")
    default = Experiment.model_fields["seeds"].default
    count = len(seeds) if isinstance(seeds, list) else seeds if isinstance(seeds, int) else default
    if not 1 <= count <= MAX_TRIALS:
        return
    grid = document.get("sweep", "grid")
    sizes = [len(values) for values in grid.values() if isinstance(values, list)] if isinstance(grid, dict) else []
    for mapping in _list(document, "zip"):
        if isinstance(mapping, dict):
            sizes.append(max((len(values) for values in mapping.values() if isinstance(values, list)), default=1))
    extra = len(_list(document, "include"))
    points = 1 if sizes or not extra else 0
    for size in sizes:
        # The bound keeps the product of thousands of lists a number that can be printed.
        points = min(points * max(size, 1), 10**15)
    if (points + extra) * count > MAX_TRIALS:
        loc = ("sweep", "grid") if grid else ("sweep",)
        place = document.at_key(loc) if document.get("sweep") else document.at_value(("seeds",))
        over = "over " if points == 10**15 else ""
        document.report(
            place,
            f"the sweep has {over}{(points + extra) * count:,} trials ({points + extra:,} points x {count:,} seeds); "
            f"at most {MAX_TRIALS:,} can be run",
        )


def check_options(document: Document) -> set[str]:
    """Report options that the data set or the model needs and does not have, or has and does not read.

    Returns:
        The sections at fault.
    """
    before = len(document.problems)
    names = _possible(document, "data.name", Data)
    known = [name for name in names if name in DATA_OPTIONS]
    if known:
        reads = {"name", "standardize"}.union(*(data_options(name) for name in known))
        what = " or ".join(f"'{name}'" for name in known)
        _check_unused(
            document, "data", dict.fromkeys(set(Data.model_fields) - reads, f"data set {what} does not read it")
        )
    if len(known) == len(names) == 1:
        _check_missing(document, "data.name", known[0], required_options(known[0]))
    faulty = {"data"} if len(document.problems) > before else set()
    before = len(document.problems)
    _check_model_options(document, names)
    return faulty | ({"model"} if len(document.problems) > before else set())


def _check_model_options(document: Document, data: list[str]) -> None:
    """Report what the families that the model may be of need and do not have, or have and do not read.

    Args:
        data: the names that the data set may have.
    """
    families = _possible(document, "model.family", Model)
    if not set(families) <= MODEL_READS.keys():
        return
    if families == ["custom"]:
        _check_missing(document, "model.family", "custom", ["factory"])
    reads = {"family"}.union(*(MODEL_READS[family] for family in families))
    unused = {key: _readers(key, families) for key in Model.model_fields if key not in reads}
    if families == ["rnn"] and set(_possible(document, "model.cell", Model)) <= {"lstm", "gru"}:
        unused["activation"] = "only model.cell 'rnn' reads it"
    generated = not set(data) <= DATA_OPTIONS.keys() - set(SEQUENCES)
    if "custom" in families and not generated and not {"rnn", "transformer"} & set(families):
        told = " or ".join(f"'{name}'" for name in SEQUENCES)
        unused["sequence_length"] = f"a model of family 'custom' reads it where data.name is {told}"
    _check_unused(document, "model", unused)


def _readers(key: str, families: list[str]) -> str:
    """Why none of these families reads the field `key` of the model."""
    if families == ["custom"]:
        return "a model of family 'custom' is built by its factory"
    readers = [f"'{family}'" for family, reads in MODEL_READS.items() if key in reads]
    return f"only model.family {' or '.join(readers)} reads it"


def momentum_note(document: Document) -> str | None:
    """A note that `train.momentum` has no effect, if it is set and has none."""
    place = document.keys.get(("train", "momentum"))
    optimizers = _possible(document, "train.optimizer", Train)
    if place is None or "momentum" in optimizers:
        return None
    return f"{place.text}: train.momentum has no effect; only train.optimizer 'momentum' reads it"


def _check_missing(document: Document, path: str, choice: str, needed: list[str]) -> None:
    section = path.split(".")[0]
    swept = {entry.path for entry in _entries(document) if entry.kind != "exclude"}
    missing = [key for key in needed if document.get(section, key) is None and f"{section}.{key}" not in swept]
    if missing:
        document.report(document.at_key((section,)), missing_options(path, choice, missing).message())


def _check_unused(document: Document, section: str, unused: dict[str, str]) -> None:
    """Report settings of a section that stand in `unused`, field -> why it has no effect."""
    settings = document.get(section)
    for key, value in settings.items() if isinstance(settings, dict) else ():
        if key in unused and value is not None and (key, value) != ("kwargs", {}):
            document.report(document.at_key((section, key)), f"{section}.{key} has no effect: {unused[key]}")
    for entry in _entries(document):
        top, _, path = entry.path.partition(".")
        key = path.split(".")[0]
        if entry.kind != "exclude" and top == section and key in unused and is_sweep_path(entry.path):
            document.report(document.at_key(entry.loc), f"{entry.path} has no effect: {unused[key]}")


def _possible(document: Document, path: str, section: type[Section]) -> list[str]:
    """The names that the field at `path` has in some trial; an empty one for what is no name."""
    top, key = path.split(".")
    settings = document.get(top)
    default = section.model_fields[key].default
    found = [settings.get(key, default) if isinstance(settings, dict) else default]
    for entry in _entries(document):
        if entry.kind != "exclude" and entry.path == path:
            found += [value for _, value in entry.values]
    return list(dict.fromkeys(value if isinstance(value, str) else "" for value in found))


def _entries(document: Document) -> Iterator[_Entry]:
    """Every well-formed key of the sweep, in order; a malformed one is pydantic's to report."""
    grid = document.get("sweep", "grid")
    mappings: list[tuple[str, Loc, Any]] = [("grid", ("sweep", "grid"), grid)]
    for kind in ("zip", "exclude", "include"):
        mappings += [(kind, ("sweep", kind, index), entry) for index, entry in enumerate(_list(document, kind))]
    for kind, loc, mapping in mappings:
        for path, value in mapping.items() if isinstance(mapping, dict) else ():
            here = (*loc, path)
            if isinstance(value, list) and (kind in {"grid", "zip"} or kind == "exclude"):
                yield _Entry(kind, here, path, [((*here, index), item) for index, item in enumerate(value)])
            elif kind in {"exclude", "include"}:
                yield _Entry(kind, here, path, [(here, value)])
            else:
                yield _Entry(kind, here, path, [(here, Unreadable())])


def _list(document: Document, kind: str) -> list[Any]:
    entries = document.get("sweep", kind)
    return entries if isinstance(entries, list) else []
