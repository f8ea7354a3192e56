"""The house rules that a reader would otherwise have to check by eye.

Who may import whom, the size of rooms, and the things that are banned everywhere.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "protocol").rglob("*.py")) + sorted((ROOT / "actors").rglob("*.py"))
LINES_MAX = 400
FUNCTION_LINES_MAX = 60
OVERSIZE: dict[str, str] = {}
"""File → why it is one room all the same."""

PURE_LIBRARIES = {"msgspec", "markdown_it"}
"""What ``protocol/`` may use beside the standard library."""
STDLIB_WITH_EFFECTS = {"asyncio", "os", "random", "secrets", "socket", "subprocess", "threading"}

ADAPTER_ONLY = {"lark_oapi", "trio_websocket", "httpx"}
FLOOR_3 = {
    "approvals",
    "connection",
    "intake",
    "outbound",
    "ownership",
    "links",
    "lanes",
    "lane",
    "turns",
    "shutdown",
    "pruning",
}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> Iterator[str]:
    """Every imported module, also those imported inside functions, as full names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def room_of(module: str) -> tuple[str, ...]:
    return tuple(module.split("."))[:2]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_go_down_the_floors(path: Path) -> None:
    here = name_of(path)
    for imported in imports_of(path):
        top = imported.split(".")[0]
        if here.startswith("protocol"):
            assert top != "actors", f"{here} is pure and must not import {imported}"
            assert top not in STDLIB_WITH_EFFECTS | {"trio"}, f"{here} is pure: {imported}"
        if top in ADAPTER_ONLY:
            assert room_of(here)[1:] in {("feishu",), ("sandbox",)}, f"{here}: {imported}"
        if top == "sqlite3":
            assert room_of(here)[1:] == ("journal",), f"{here} imports {imported}"
        if top == "actors":
            assert allowed(here, imported), f"{here} must not import {imported}"
        if top == "protocol":
            assert room_of(here)[1:] != ("sandbox",), f"{here} must not import {imported}"


def allowed(here: str, imported: str) -> bool:
    """Whether a module of ``actors`` may import another one."""
    room, other = room_of(here), room_of(imported)
    if room == other:
        return True
    match room[1:]:
        case ("kit",):
            return False
        case ("messages",):
            return other[1] == "kit"
        case ("journal",):
            return other[1] in {"kit", "messages"}
        case ("feishu",):
            return other[1] in {"kit", "messages"}
        case ("proxies",):
            return other[1] == "kit"
        case ("sandbox",):
            return False
        case (actor,) if actor in FLOOR_3:
            if actor == "connection" and other[1] == "feishu":
                return True
            return other[1] in {"kit", "messages"}
    return True


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_room_is_small_enough_to_read(path: Path) -> None:
    text = path.read_text()
    if str(path.relative_to(ROOT)) not in OVERSIZE:
        assert text.count("\n") <= LINES_MAX, "split it, or write the reason into OVERSIZE"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            assert size <= FUNCTION_LINES_MAX, f"{node.name} has {size} lines"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_what_is_banned_is_absent(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            spelled = ast.unparse(node)
            assert spelled != "math.inf", "give every buffer and every wait a number"
            assert spelled != "trio.lowlevel.spawn_system_task", "every task has a nursery"
            if not name_of(path).startswith("actors.kit"):
                assert spelled != "trio.Lock", "state has an owner, not a lock"
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            raise AssertionError(f"line {node.lineno}: bare except")
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("open_memory_channel"):
            size = node.args[0]
            assert not isinstance(size, ast.Constant) or size.value in (0, 1), (
                f"line {node.lineno}: name the size and give its reason"
            )
