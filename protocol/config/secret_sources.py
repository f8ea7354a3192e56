"""Where a secret of the configuration is to be had: written there, in the environment or a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from msgspec import Struct, structs

from protocol.config.checks import (
    NAMED,
    WORD,
    CheckFailed,
    Problems,
    join,
    read_map,
    text,
    wrong_kind,
)

_FORMS: Final = 'a string, {"env": "NAME"} or {"file": "path"}'
_LINE: Final = re.compile(r"[^\x00-\x1f\x7f]+")
_SECRET_MAX: Final = 4_096


class SecretSource(Struct, frozen=True, kw_only=True):
    """Where a secret is to be had. Resolved only for accounts that are in use."""

    kind: Literal["value", "env", "file"]
    name: str
    path: str
    what: str = "app secret"
    pattern: Literal["word", "line"] = "word"

    def __repr__(self) -> str:
        return f"SecretSource({self.kind})"

    def resolve(self, env: Mapping[str, str], read_file: Callable[[str], str]) -> str:
        """Return the secret.

        Raises:
            CheckFailed: it is not there, not readable or not one line of text.
        """
        where = self.path if self.kind == "value" else join(self.path, self.kind)
        secret = self.name
        if self.kind == "env":
            secret = env.get(self.name, "").strip()
            if not secret:
                raise CheckFailed(where, f"the environment has no {self.name}; export it")
        elif self.kind == "file":
            secret = self._from_file(where, read_file)
        form = WORD if self.pattern == "word" else _LINE
        if len(secret) > _SECRET_MAX or not form.fullmatch(secret):
            form_name = f"one {self.pattern} of text"
            raise CheckFailed(where, f"is not {form_name}; it holds the {self.what} alone")
        return secret

    def _from_file(self, where: str, read_file: Callable[[str], str]) -> str:
        try:
            secret = read_file(self.name).strip()
        except OSError as failed:
            reason = failed.strerror or type(failed).__name__
            raise CheckFailed(where, f"can't read {self.name}: {reason}") from None
        except ValueError:
            raise CheckFailed(where, f"can't read {self.name}: not a text file") from None
        if not secret:
            raise CheckFailed(where, f"{self.name} is empty; write the {self.what} into it")
        return secret


def secret(value: Any, path: str, problems: Problems) -> SecretSource:
    if isinstance(value, str) and value.strip():
        return SecretSource(kind="value", name=value.strip(), path=path)
    if not isinstance(value, Mapping):
        raise wrong_kind(path, value, _FORMS)
    word = text("a string", NAMED)
    found = read_map(value, path, {"env": word, "file": word}, problems)
    if problems.has(path):
        raise CheckFailed(path, f"allowed: {_FORMS}")
    if len(found) != 1:
        raise CheckFailed(path, f"is a map with {len(found)} of env, file; allowed: exactly one")
    ((kind, name),) = found.items()
    return SecretSource(kind="env" if kind == "env" else "file", name=name, path=path)


def connection_string(value: Any, path: str, problems: Problems) -> SecretSource:
    """A connection string of PostgreSQL, which may hold spaces and a password."""
    source = secret(value, path, problems)
    return structs.replace(source, what="connection string", pattern="line")
