"""YAML with positions: the core scalars of YAML 1.2, every key and value with its line and column."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn

import yaml
from yaml.composer import Composer
from yaml.error import Mark, MarkedYAMLError
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from gradlab.config.document import Document, Loc, Place, Unreadable, dotted, shorten
from gradlab.errors import ConfigError, Problem

MAX_DEPTH = 64
"""Levels of lists and mappings inside each other."""

MAX_COPIES = 100_000
"""Nodes that aliases may add to a document; each 64 characters of an aliased text count as one more."""

_TAG = "tag:yaml.org,2002:"
_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_KINDS = {_TAG + "null": "null", _TAG + "bool": "a boolean", _TAG + "int": "a number", _TAG + "float": "a number"}


def scalar_tag(text: str) -> str:
    """The tag of a plain scalar under the core schema of YAML 1.2.2 (section 10.3.2)."""
    for name, pattern in (("null", _NULL), ("bool", _BOOL), ("int", _INT), ("float", _FLOAT)):
        if pattern.fullmatch(text):
            return _TAG + name
    return _TAG + "str"


def core_tag(kind: Any, value: Any, implicit: Any) -> str:
    """The tag of an untagged node under the core schema; quoted scalars are text."""
    if kind is yaml.ScalarNode:
        return scalar_tag(value) if implicit[0] else _TAG + "str"
    return _TAG + ("seq" if kind is yaml.SequenceNode else "map")


def read_yaml(text: str, locate: Callable[[int, int], Place]) -> Document:
    """The single YAML document in `text`.

    Args:
        text: YAML 1.2 without merge keys and without tags beyond the core schema.
        locate: makes a place of a line and column, both counted from 1.

    Raises:
        ConfigError: the text is not YAML, or is too deep or too large to be a config. What a reader can
            step over (a duplicate key, a tag) goes into the document's problems instead.
    """

    def fail(line: int, column: int, message: str) -> NoReturn:
        raise ConfigError([Problem(locate(line + 1, column + 1).text, message)])

    composer: _Composer | None = None
    try:
        composer = _Composer(text)
        node = composer.get_single_node()
    except _TooDeepError as error:
        fail(error.mark.line, error.mark.column, f"lists and mappings are nested more than {MAX_DEPTH} deep")
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        told = ", ".join(part for part in (error.context, error.problem) if part)
        fail(line, column, f"not valid YAML: {_told(told)}")
    except ReaderError as error:
        lines = _LINE_BREAK.split(text[: error.position])
        fail(len(lines) - 1, len(lines[-1]), f"not valid YAML: the control character {_code(error.character)}")
    except (ValueError, OverflowError):
        line, column = (composer.line, composer.column) if composer else (0, 0)
        fail(line, column, "not valid YAML: an escape that stands for no character")
    document = Document(None)
    builder = _Builder(document, lambda mark: locate(mark.line + 1, mark.column + 1))
    if node is None:
        document.values[()] = locate(1, 1)
    else:
        document.root = builder.build(node, ())
    return document


def _code(character: Any) -> str:
    return f"U+{character if isinstance(character, int) else ord(character):04X}"


def _told(told: str) -> str:
    if "'\\t'" in told:
        return "a tab where only spaces may indent"
    if "single document" in told:
        return "a config is one document, and a second one starts here"
    return told


class _TooDeepError(Exception):
    def __init__(self, mark: Mark) -> None:
        self.mark = mark


class _Composer(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML's own pipeline up to the node graph, with a bound on the depth."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self._depth = 0

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        return core_tag(kind, value, implicit)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self._depth > MAX_DEPTH:
            raise _TooDeepError(self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Builder:
    """Turns nodes into plain values, noting the place of each."""

    def __init__(self, document: Document, place: Callable[[Mark], Place]) -> None:
        self._document = document
        self._place = place
        self._open: set[int] = set()
        self._seen: set[int] = set()
        self._copies = 0

    def build(self, node: yaml.Node, loc: Loc) -> Any:
        """The value of `node`, which stands at `loc`."""
        place = self._place(node.start_mark)
        self._document.values[loc] = place
        if id(node) in self._open:
            return self._unreadable(place, "an alias to a value that contains it")
        if id(node) in self._seen:
            self._copies += 1 + (len(node.value) // 64 if isinstance(node, yaml.ScalarNode) else 0)
            if self._copies > MAX_COPIES:
                raise ConfigError([Problem(place.text, f"aliases repeat this and others over {MAX_COPIES:,} times")])
        self._seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, place)
        if node.tag != _TAG + ("seq" if isinstance(node, yaml.SequenceNode) else "map"):
            return self._unreadable(place, f"the tag {_tag(node.tag)} is not allowed here")
        self._open.add(id(node))
        value: Any
        if isinstance(node, yaml.SequenceNode):
            value = [self.build(item, (*loc, index)) for index, item in enumerate(node.value)]
        else:
            value = self._mapping(node, loc)
        self._open.remove(id(node))
        return value

    def _mapping(self, node: yaml.Node, loc: Loc) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = self._place(key_node.start_mark)
            key = self._key(key_node, place)
            if isinstance(key, Unreadable):
                continue
            here = (*loc, key)
            if key in value:
                path, first = dotted(here), self._document.keys[here]
                self._document.report(place, f"duplicate key '{path}'; it is set at {_in_words(first)} already")
                continue
            self._document.keys[here] = place
            value[key] = self.build(value_node, here)
        return value

    def _key(self, node: yaml.Node, place: Place) -> str | Unreadable:
        if not isinstance(node, yaml.ScalarNode):
            return self._unreadable(place, "a key must be text, not a list or a mapping")
        if node.tag == _TAG + "str" and node.value == "<<" and node.style is None:
            return self._unreadable(place, "merge keys ('<<') are not part of YAML 1.2; write the keys out")
        key = self._scalar(node, place)
        if isinstance(key, str | Unreadable):
            return key
        return self._unreadable(place, f"a key must be text, and {shorten(node.value)} is {_KINDS[node.tag]}")

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Any:
        text = str(node.value)
        match node.tag.removeprefix(_TAG):
            case "str":
                for character in text:
                    if character == "\0" or "\ud800" <= character <= "\udfff":
                        return self._unreadable(place, f"text may not contain the character {_code(character)}")
                return text
            case "null" if _NULL.fullmatch(text):
                return None
            case "bool" if _BOOL.fullmatch(text):
                return text.lower() == "true"
            case "int" if _INT.fullmatch(text):
                return self._integer(text, place)
            case "float" if _FLOAT.fullmatch(text):
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            case "null" | "bool" | "int" | "float":
                return self._unreadable(place, f"{shorten(text)} does not fit its tag {_tag(node.tag)}")
            case _:
                return self._unreadable(place, f"the tag {_tag(node.tag)} is not allowed; only plain values are")

    def _integer(self, text: str, place: Place) -> int | Unreadable:
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        digits = text[2:] if base != 10 else text
        value = int(digits, base) if len(digits) < 100 else 2**64
        if not -(2**63) <= value < 2**63:
            return self._unreadable(place, f"{shorten(text)} is beyond the integers of 64 bits")
        return value

    def _unreadable(self, place: Place, message: str) -> Unreadable:
        self._document.report(place, message)
        return Unreadable()


def _tag(tag: str) -> str:
    return shorten("!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag)


def _in_words(place: Place) -> str:
    return f"line {place.line}" if place.line else place.text
