"""The sandbox as a process of its own, for tests that drive a browser and so can't be async."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, TextIO

import httpx

from actors.sandbox.access import TOKEN_HEADER
from tests.kit import preloaded
from tests.kit.daemon import environment
from tests.kit.ports import free_port

CARDS = "/open-apis/cardkit/v1/cards"


class SandboxProcess:
    """Can be stopped, and started again under the same address."""

    def __init__(self, folder: Path) -> None:
        self._keep = folder / "sandbox.json"
        self._port = free_port()
        self._process: ForkServerProcess | None = None
        self._output: TextIO
        self.page_url = ""
        self.base_url = ""
        self._app: dict[str, str] = {}
        self.http = httpx.Client(trust_env=False, timeout=60)

    def start(self) -> None:
        place = ("--port", str(self._port), "--keep", str(self._keep))
        self._process, self._output = preloaded.start_without_trio(
            "actors.sandbox", [*place, "--no-limits"], environment()
        )
        for line in self._output:
            words = line.split()
            if "chat page" in line:
                self.page_url = words[-1]
                token = self.page_url.partition("token=")[2]
                self.http.headers[TOKEN_HEADER] = token
            elif words[0] == "domain":
                self.base_url = words[1]
            elif words[0] == "appId":
                self._app = {"app_id": words[1], "app_secret": words[3]}
                return
        raise AssertionError("the sandbox ended before it was ready")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.join(60)
            assert self._process.exitcode is not None, "the sandbox does not end"
            self._process.close()
            self._output.close()
            self._process = None

    def get(self, path: str) -> Any:
        answer = self.http.get(f"{self.base_url}/sandbox/{path}")
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, /, **body: Any) -> Any:
        answer = self.http.post(f"{self.base_url}/sandbox/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def chat(self, name: str = "Alice") -> dict[str, Any]:
        return next(one for one in self.get("state")["chats"] if one["name"] == name)

    def call(self, method: str, path: str, **body: Any) -> Any:
        """Call the platform's API as the bot; return ``data``."""
        url = f"{self.base_url}/open-apis/auth/v3/tenant_access_token/internal"
        token = self.http.post(url, json=self._app).json()["tenant_access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        answer = self.http.request(method, self.base_url + path, json=body, headers=headers).json()
        assert answer["code"] == 0, answer
        return answer["data"]

    def send_card(self, chat_id: str, card: dict[str, Any]) -> str:
        """Create a card entity and send it; return its id."""
        made = self.call("POST", CARDS, type="card_json", data=json.dumps(card))
        content = json.dumps({"type": "card", "data": {"card_id": made["card_id"]}})
        path = "/open-apis/im/v1/messages?receive_id_type=chat_id"
        self.call("POST", path, receive_id=chat_id, msg_type="interactive", content=content)
        return str(made["card_id"])

    def stream(self, card_id: str, element_id: str, text: str, sequence: int) -> None:
        path = f"{CARDS}/{card_id}/elements/{element_id}/content"
        self.call("PUT", path, content=text, sequence=sequence)


@contextmanager
def open_sandbox_process(folder: Path) -> Iterator[SandboxProcess]:
    sandbox = SandboxProcess(folder)
    try:
        sandbox.start()
        yield sandbox
    finally:
        sandbox.stop()
        sandbox.http.close()
