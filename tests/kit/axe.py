"""axe-core, as locked, from npm; and what it finds on a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from tests.kit import node
from tests.kit.browser import Browser

CLIENTS = Path(__file__).parents[1] / "actors" / "sandbox" / "clients"
STILL: Final = """
for (const one of document.getAnimations()) {
  if (one.effect.getComputedTiming().endTime === Infinity) one.cancel(); else one.finish();
}
"""
"""A dialog's and a hover's transitions blend colours: they are over at once."""


def axe_source() -> str:
    """Return its script; skip the test where the machine has no npm."""
    return (node.installed(CLIENTS) / "node_modules/axe-core/axe.min.js").read_text()


def serious(page: Browser, axe: str) -> list[Any]:
    """Return what axe finds serious or critical: its rule, and the elements."""
    page.execute_script(STILL)
    if not page.execute_script("return Boolean(window.axe)"):
        # By the debugger: a page's own rules let no script in.
        page.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
    found: dict[str, Any] = page.execute_async_script(
        "axe.run({resultTypes: ['violations']}).then(arguments[arguments.length - 1])"
    )
    return [
        (one["id"], [node["html"][:160] for node in one["nodes"]])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
