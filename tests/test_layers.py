"""The rules of layout that a reader would otherwise have to check by eye.

Who may import whom, by folder; the size of modules; and what is banned everywhere.
A folder without a rule fails: a new one gets its place here before it gets any code.
"""

from __future__ import annotations

import ast
import functools
import graphlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "protocol").rglob("*.py")) + sorted((ROOT / "actors").rglob("*.py"))
LINES_MAX = 400
FUNCTION_LINES_MAX = 60

PURE_LIBRARIES = {"msgspec", "markdown_it"}
"""What ``protocol/`` may use beside the standard library."""
STDLIB_WITH_EFFECTS = {"asyncio", "os", "random", "secrets", "socket", "subprocess", "threading"}

PROTOCOL_ORDER = ("wire", "routing", "platform", "cards", "agents", "config")
"""Each package imports only those to its left."""
PROTOCOL_TOP = {"", "ids", "errors", "foreign", "quoted", "strings"}
"""At the top of ``protocol/``: importable by all its packages."""

ACTORS = {
    "agents",
    "approvals",
    "connection",
    "intake",
    "lanes",
    "links",
    "monitoring",
    "outbound",
    "ownership",
    "turns",
}
MAY_IMPORT: dict[str, set[str]] = {
    "kit": set(),
    "messages": {"kit"},
    "journal": {"kit", "messages"},
    "feishu": {"kit", "messages"},
    **{actor: {"kit", "messages"} for actor in ACTORS},
    "connection": {"kit", "messages", "feishu"},
    "host": {"kit"},
    "proxies": {"kit", "host"},
    "sandbox": set(),
    "app": {"kit", "messages", "journal", "feishu", "host", "sandbox", *ACTORS},
    "cli": {"kit", "messages", "feishu", "host", "proxies", "sandbox", "journal", "app"},
    "daemon": {"cli"},
}
"""Folder of ``actors/`` → the folders it may import beside itself."""

ONLY_IMPORTER: dict[str, set[str]] = {
    "lark_oapi": set(),  # the sandbox takes its frames out of it, by its path
    "google": {"feishu"},
    "trio_websocket": {"sandbox"},
    "wsproto": {"feishu"},
    "httpx": {"feishu"},
    "sqlite3": {"journal"},
    "psycopg": {"journal"},
}
"""Library → the folders of ``actors/`` that may import it."""


SHARED_NAMES = {
    "Peers",  # of every actor: its outgoing mailboxes
    "Notify",  # both write a line to the people of a session
    # The stand-in platform shares no code with the daemon; these mean the same there.
    "ClosingStream",
    "Frame",
    "Mention",
    "Sender",
}
"""Classes and aliases of types that may be defined in more than one module."""


METAPHORS: Final = re.compile(
    r"(?<![a-z])(house|rooms?|floors?|doors?|neighbours?|guests?|desk|says?|said|tells?|told|hears?"
    r"|heard|mail|behind|patience|hurry|affairs?)(?![a-z])",
    re.IGNORECASE,
)
"""Words for which Trio, OTP, Feishu, MCP and ACP have terms: a reader is to learn no other."""
WORDED: Final = {".css", ".html", ".js", ".md", ".mjs", ".py"}
NO_METAPHORS: Final = re.compile(
    r"## Behind a proxy|math\.floor|e-mail|test_behind_a_proxy|who hears this chat|\bheard_by\b",
    re.IGNORECASE,
)
"""What the contract prescribes, what a released journal is called, and the terms of others."""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@functools.cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """Every node of a module; each is read by several rules."""
    return tuple(ast.walk(ast.parse(path.read_text())))


def imports_of(path: Path) -> Iterator[str]:
    """Every imported module, also those imported inside functions, as full names."""
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def folder_of(module: str) -> str:
    """The part after the top package: ``links`` of ``actors.links.listener``."""
    return [*module.split("."), ""][1]


def test_imports_follow_the_layers() -> None:
    for path in SOURCES:
        here = name_of(path)
        for imported in imports_of(path):
            if here.startswith("protocol"):
                check_protocol(here, imported)
            else:
                check_actors(here, imported)


def check_protocol(here: str, imported: str) -> None:
    top = imported.split(".", maxsplit=1)[0]
    assert top != "actors", f"{here} is pure and must not import {imported}"
    assert top not in STDLIB_WITH_EFFECTS | {"trio"}, f"{here} is pure: {imported}"
    if top != "protocol":
        return
    folder, other = folder_of(here), folder_of(imported)
    if other in PROTOCOL_TOP or other.startswith("__") or folder == other:
        return
    assert folder in PROTOCOL_ORDER, f"{here} has no rule, or imports a package: {imported}"
    left = PROTOCOL_ORDER[: PROTOCOL_ORDER.index(folder)]
    assert other in left, f"{here} may import only {left}, not {imported}"


def check_actors(here: str, imported: str) -> None:
    top, folder = imported.split(".", maxsplit=1)[0], folder_of(here)
    if folder == "":
        return
    assert folder in MAY_IMPORT, f"{here} has no rule: give its folder one"
    if top in ONLY_IMPORTER:
        assert folder in ONLY_IMPORTER[top], f"{here}: {imported}"
    if top == "actors" and folder_of(imported) not in {folder, ""}:
        assert folder_of(imported) in MAY_IMPORT[folder], f"{here} must not import {imported}"
    if top == "protocol":
        assert folder != "sandbox", f"{here} shares no code with the daemon: {imported}"


def test_every_folder_has_a_rule() -> None:
    folders = {path.name for path in (ROOT / "actors").iterdir() if (path / "__init__.py").exists()}
    assert folders | {"daemon"} == set(MAY_IMPORT)
    packages = {
        path.name for path in (ROOT / "protocol").iterdir() if (path / "__init__.py").exists()
    }
    assert packages - PROTOCOL_TOP == set(PROTOCOL_ORDER)


def test_no_module_imports_in_a_circle() -> None:
    modules = {name_of(path): path for path in SOURCES}
    graph = {
        name: {
            target
            for imported in imports_of(path)
            for target in (imported, imported.rpartition(".")[0])
            if target in modules and target != name and modules[target].name != "__init__.py"
        }
        for name, path in modules.items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, naming the circle


def types_of(path: Path) -> Iterator[str]:
    """The public classes of a module, and its aliases of types; type variables are none."""
    for node in nodes_of(path):
        if isinstance(node, ast.ClassDef):
            yield node.name
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and "TypeVar" not in ast.unparse(node.value):
            for target in node.targets:
                if isinstance(target, ast.Name) and not target.id.isupper():
                    yield target.id


def test_one_name_means_one_thing() -> None:
    defined = Counter(name for path in SOURCES for name in types_of(path) if name[0].isupper())
    assert {name for name, times in defined.items() if times > 1} == SHARED_NAMES


def test_words_are_the_terms_of_the_field() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {word[0]!r}"
        for folder in ("protocol", "actors", "bench", "tests", "docs")
        for path in sorted((ROOT / folder).rglob("*.*"))
        if path.suffix in WORDED and path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (word := METAPHORS.search(NO_METAPHORS.sub("", line))) is not None
    ]
    assert not found, "\n".join(["use the terms of the field:", *found])


def test_a_module_is_small_enough_to_read() -> None:
    for path in SOURCES:
        assert path.read_text().count("\n") <= LINES_MAX, f"split {path}"
        for node in nodes_of(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                assert size <= FUNCTION_LINES_MAX, f"{path}: {node.name} has {size} lines"


def test_what_is_banned_is_absent() -> None:
    for path in SOURCES:
        for node in nodes_of(path):
            check_banned(path, node)


def check_banned(path: Path, node: ast.AST) -> None:
    if isinstance(node, ast.Attribute):
        spelled = ast.unparse(node)
        assert spelled != "math.inf", f"{path}: give every buffer and every wait a number"
        assert spelled != "trio.lowlevel.spawn_system_task", f"{path}: every task has a nursery"
        if not name_of(path).startswith("actors.kit"):
            assert spelled != "trio.Lock", f"{path}: state has an owner, not a lock"
    if isinstance(node, ast.ExceptHandler) and node.type is None:
        raise AssertionError(f"{path}:{node.lineno}: bare except")
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("open_memory_channel"):
        size = node.args[0]
        assert not isinstance(size, ast.Constant) or size.value in (0, 1), (
            f"{path}:{node.lineno}: name the size and give its reason"
        )
