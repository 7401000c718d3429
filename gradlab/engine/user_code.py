"""The user's own functions, named `file.py:function` or `package.module:function` in a config."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch

from gradlab.errors import SettingError

RAISED = (Exception, SystemExit)
"""What the user's code may raise that is reported as its failure: leaving the program, too."""


_LIBRARIES = (Path(torch.__file__).parent, Path(__file__).parents[1])
"""Code that is not the user's own."""


def load_function(setting: str, reference: str, directory: Path) -> Callable[..., Any]:
    """The function that `reference` names; a file is looked for relative to `directory`, the config's folder.

    Raises:
        SettingError: the file or function is missing, or importing it raises; it names `setting`, the field path of
            the reference, and the user's own file and line.
    """
    module_name, _, function_name = reference.rpartition(":")
    # As in a script, modules beside the config can be imported.
    folder = str(directory.resolve())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        module = (
            _load_file(directory / module_name) if module_name.endswith(".py") else importlib.import_module(module_name)
        )
    except _MissingFileError as error:
        raise SettingError(setting, str(error), reference) from None
    except RAISED as error:
        raise SettingError(setting, f"importing {module_name} failed: {describe(error)}", reference) from error
    if not hasattr(module, function_name):
        known = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        meant = difflib.get_close_matches(function_name, known, n=1)
        question = f"; did you mean '{meant[0]}'?" if meant else ""
        raise SettingError(setting, f"{module_name} has no function '{function_name}'{question}", reference)
    function = getattr(module, function_name)
    if not callable(function):
        kind = type(function).__name__
        raise SettingError(setting, f"'{function_name}' of {module_name} is no function but of type {kind}", reference)
    return function  # type: ignore[no-any-return]


def digests(references: Iterable[str], directory: Path) -> dict[str, str]:
    """File of the user's own -> a digest of what it holds, of the files among `references` that can be read."""
    names = dict.fromkeys(reference.rpartition(":")[0] for reference in references)
    files = [name for name in names if name.endswith(".py") and (directory / name).is_file()]
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest()[:16] for name in files}


@contextmanager
def contained() -> Iterator[None]:
    """Where the user's code runs: what it prints goes to stderr, since stdout is for data."""
    with redirect_stdout(sys.stderr):
        yield


def describe(error: BaseException, otherwise: str = "") -> str:
    """An exception in one line, with the file and line where it was raised: in the user's own code, if it was there.

    Args:
        otherwise: what to name where no line of the user's own code was at work, such as `defined_at` a function.
    """
    told = str(error)
    if isinstance(error, SyntaxError) and error.filename:
        told, place = error.msg, f"{error.filename}:{error.lineno}"
    else:
        raised = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        own = [frame for frame in raised if not _is_library(frame[0])]
        shown = own or ([] if otherwise else raised)
        place = ":".join(map(str, shown[-1])) if shown else otherwise
    text = f"{type(error).__name__}: {' '.join(told.split())}" if told else type(error).__name__
    return f"{text} ({place})" if place else text


def defined_at(function: Callable[..., Any]) -> str:
    """`file:line` of a function or class; empty where it has none, as what is built in."""
    written = inspect.unwrap(function)
    try:
        return f"{inspect.getsourcefile(written)}:{inspect.getsourcelines(written)[1]}"
    except (OSError, TypeError):
        return ""


def _is_library(filename: str) -> bool:
    return filename.startswith("<frozen ") or any(Path(filename).is_relative_to(folder) for folder in _LIBRARIES)


class _MissingFileError(Exception):
    """There is nothing to import."""


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise _MissingFileError(f"no such file: {path}; paths in a config are relative to the config's folder")
    resolved = path.resolve()
    name = f"gradlab_user_{hashlib.sha256(str(resolved).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, resolved)
    if spec is None or spec.loader is None:
        raise _MissingFileError(f"not a Python file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
