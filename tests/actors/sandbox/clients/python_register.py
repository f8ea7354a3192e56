"""The official Python SDK's ``register_app`` against the sandbox; prints JSON lines."""

# ruff: noqa: T201
from __future__ import annotations

import json
import sys
from typing import Any

from lark_oapi.scene.registration import register_app


def report(what: str, **more: object) -> None:
    print(json.dumps({"what": what, **more}), flush=True)


def main() -> None:
    domain = sys.argv[1]
    app: dict[str, Any] = register_app(
        on_qr_code=lambda shown: report("link", url=shown["url"]),
        source="larkd",
        domain=domain,
        lark_domain=domain,
        app_preset={"name": "Robo"},
        addons={"preset": False, "scopes": {"tenant": ["im:message"]}},
    )
    report("app", app=app)


main()
