"""Finds, reads and parses the configuration file; what it means is read elsewhere."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from actors.host import advice
from protocol.config import places
from protocol.config.reading import read_settings
from protocol.config.settings import Settings
from protocol.errors import ConfigurationError

CONFIG_BYTES_MAX: Final = 1024 * 1024
"""A configuration of a thousand accounts is smaller."""
SECRET_BYTES_MAX: Final = 64 * 1024
TOML_REMEDIES: Final = (
    ("Cannot overwrite a value", "this key stands twice: remove one"),
    ("Cannot declare", "put all keys of a table below one heading"),
    ("Invalid value", 'text stands in double quotes: "text"'),
    ("Illegal character '\\n'", "close the quotes on the same line"),
)
"""How a message of the parser begins → what to do, where it leaves that open."""


def find(explicit: Path | None, env: Mapping[str, str], home: Path) -> Path | None:
    """Return the configuration file in force, or None when there is none.

    ``--config``, else ``$LARKD_CONFIG``, else the file in larkd's configuration
    directory. A file that was named and does not exist is reported when it is read.

    Raises:
        ConfigurationError: the directory holds both forms, and one would be ignored.
    """
    if explicit is not None:
        return explicit
    if named := env.get("LARKD_CONFIG"):
        return Path(named)
    present = [path for path in places.config_paths(env, home) if path.exists()]
    if len(present) > 1:
        both = " and ".join(map(str, present))
        raise ConfigurationError(f"both {both} exist; remove one, or name one with --config")
    return present[0] if present else None


def load(path: Path) -> dict[str, Any]:
    """Read a configuration file: JSON if it is named so, else TOML.

    Raises:
        ConfigurationError: unreadable, or not well formed, with line and column.
    """
    try:
        raw = _read_bytes(path, CONFIG_BYTES_MAX)
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no such file; write it or name another one") from None
    except (OSError, ValueError) as failed:
        reason = getattr(failed, "strerror", None) or str(failed)
        raise ConfigurationError(f"{path}: can't be read: {reason}") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        before = raw[: wrong.start].decode("utf-8-sig", errors="replace")
        where = _line_and_column(before, len(before))
        raise ConfigurationError(f"{path}: {where}: not UTF-8 text; save it as UTF-8") from None
    if path.suffix == ".json":
        _check_form(path, text, is_other=_is_toml, other="TOML", ending=".toml")
        return _parse_json(path, text)
    _check_form(path, text, is_other=_is_json, other="JSON", ending=".json")
    return _parse_toml(path, text)


def read_secret(path: str, *, beside: Path | None) -> str:
    """Return the text of a secret's file. A relative path starts at the configuration.

    Raises:
        OSError: it can't be read.
        ValueError: it is no text file, or far too large.
    """
    try:
        resolved = Path(path).expanduser()
    except RuntimeError:
        raise FileNotFoundError(2, "no home directory of that user") from None
    if not resolved.is_absolute() and beside is not None:
        resolved = beside.parent / resolved
    return _read_bytes(resolved, SECRET_BYTES_MAX).decode()


def _read_bytes(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        raw = file.read(limit + 1)
    if len(raw) > limit:
        raise ValueError(f"larger than {limit} bytes")
    return raw


def _check_form(
    path: Path, text: str, *, is_other: Callable[[str], bool], other: str, ending: str
) -> None:
    """Refuse a file whose name promises the other form."""
    if is_other(text):
        named = f"ends with {path.suffix}" if path.suffix else "has no ending"
        raise ConfigurationError(
            f"{path}: holds {other}, its name {named}; rename it to {path.with_suffix(ending).name}"
        )


def _is_json(text: str) -> bool:
    """Whether *text* opens as a JSON object does; no TOML document begins with a brace."""
    return text.lstrip().startswith("{")


def _is_toml(text: str) -> bool:
    """Whether *text* is a TOML document of one key at least."""
    if text.lstrip().startswith(("{", '"')):
        return False
    try:
        return bool(tomllib.loads(text))
    except (ValueError, RecursionError):
        return False


def _parse_json(path: Path, text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text, object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
    except json.JSONDecodeError as wrong:
        where = f"line {wrong.lineno}, column {wrong.colno}"
        raise ConfigurationError(f"{path}: {where}: {wrong.msg}") from None
    except (ValueError, RecursionError) as wrong:
        raise ConfigurationError(f"{path}: {wrong}") from None
    if not isinstance(parsed, dict):
        raise ConfigurationError(f"{path}: line 1, column 1: the file is one JSON object: {{…}}")
    return parsed


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object; remove one")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _parse_toml(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        message, _, where = str(wrong).rpartition(" (at ")
        where = where.removesuffix(")")
        if where == "end of document":
            where = f"{_line_and_column(text, len(text))} (end of file)"
        remedy = next((f"; {do}" for start, do in TOML_REMEDIES if message.startswith(start)), "")
        raise ConfigurationError(f"{path}: {where}: {message}{remedy}") from None
    except (ValueError, RecursionError) as wrong:
        raise ConfigurationError(f"{path}: {wrong}") from None


def _line_and_column(text: str, at: int) -> str:
    line = text.count("\n", 0, at) + 1
    return f"line {line}, column {at - text.rfind(chr(10), 0, at)}"


def settings(
    raw: Mapping[str, Any], env: Mapping[str, str], path: Path | None, *, listen: str | None = None
) -> Settings:
    """Read the settings in force: the file's, the environment's, and *listen* on top.

    Raises:
        ConfigurationError: with every problem at once.
    """
    return read_settings(
        raw,
        env,
        lambda name: read_secret(name, beside=path),
        listen=listen,
        config_path=advice.at_home(path or places.config_paths(env, Path.home())[0]),
        set_up=advice.set_up(path, env),
    )
