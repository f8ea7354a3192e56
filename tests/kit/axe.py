"""axe-core, as locked, installed from npm once a machine; and what it finds on a page."""

from __future__ import annotations

import getpass
import hashlib
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.kit.browser import Browser

CLIENTS = Path(__file__).parents[1] / "actors" / "sandbox" / "clients"


def axe_source() -> str:
    """Return its script; skip the test where the machine has no npm."""
    if not shutil.which("npm"):
        pytest.skip("no npm: install Debian's package npm")
    lock = (CLIENTS / "package-lock.json").read_bytes()
    name = f"larkd-axe-{getpass.getuser()}-{hashlib.sha256(lock).hexdigest()[:16]}.js"
    kept = Path(tempfile.gettempdir()) / name
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            for file in ("package.json", "package-lock.json"):
                shutil.copy(CLIENTS / file, folder)
            command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
            part = kept.with_suffix(f".{time.monotonic_ns()}")
            shutil.copy(Path(folder, "node_modules/axe-core/axe.min.js"), part)
            part.replace(kept)
    return kept.read_text()


def serious(page: Browser, axe: str) -> list[Any]:
    """Return what axe finds serious or critical: its rule, and the elements."""
    time.sleep(0.3)  # a dialog's and a hover's transitions blend colours
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
