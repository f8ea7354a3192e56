"""An agent on the official Python SDK that elicits what its prompt's first word names.

What it is answered goes into its own answer, as JSON; what it is refused with, as it is.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, cast

import acp
from acp import schema
from pydantic import AnyUrl


class ElicitingAgent:
    """One session; it asks whatever the client announced it can be asked."""

    client: acp.Client
    asks: schema.ElicitationCapabilities | None = None

    def on_connect(self, conn: acp.Client) -> None:
        self.client = conn

    async def initialize(
        self,
        protocol_version: int,
        client_capabilities: schema.ClientCapabilities | None = None,
        client_info: schema.Implementation | None = None,
        **_: Any,
    ) -> schema.InitializeResponse:
        assert client_info is not None
        self.asks = client_capabilities.elicitation if client_capabilities else None
        return schema.InitializeResponse(protocol_version=protocol_version)

    async def new_session(self, cwd: str, **_: Any) -> schema.NewSessionResponse:
        return schema.NewSessionResponse(session_id=f"in-{os.path.basename(cwd)}")  # noqa: PTH119  # a word

    async def cancel(self, **_: Any) -> None:
        return

    async def prompt(self, session_id: str, prompt: list[Any], **_: Any) -> schema.PromptResponse:
        assert self.asks is not None
        assert self.asks.form is not None
        assert self.asks.url is not None
        word = prompt[0].text.split()[0]
        text = await self._act(session_id, word)
        await self.client.session_update(
            session_id, acp.update_agent_message_text(f"{word} got {text}")
        )
        return schema.PromptResponse(stop_reason="end_turn")

    async def _act(self, session_id: str, word: str) -> str:
        match word:
            case "form" | "again" | "late":
                return await self._elicit("About the release", form(session_id))
            case "link":
                return await self._elicit("Log in first", link(session_id, "login-1"))
            case "done":
                asked = asyncio.create_task(self._elicit("Log in", link(session_id, "login-2")))
                while not os.path.exists("done"):  # noqa: PTH110  # the test's sign
                    await asyncio.sleep(0.02)
                await self.client.complete_elicitation("login-2")
                return await asked
            case "odd":
                properties = {"point": schema.ElicitationOtherPropertySchema(type="_point")}
                return await self._elicit("Where?", form(session_id, properties))
        return "nothing"

    async def _elicit(self, message: str, mode: Any) -> str:
        try:
            answer = await self.client.create_elicitation(message, mode)
        except acp.RequestError as refused:
            return f"{refused.code} {refused}"
        return answer.model_dump_json(exclude_none=True)


def form(
    session_id: str, properties: dict[str, Any] | None = None
) -> schema.ElicitationFormSessionMode:
    asked = properties or {
        "version": schema.ElicitationStringPropertySchema(
            type="string", title="Version", min_length=3
        ),
        "channel": schema.ElicitationStringPropertySchema(
            type="string", title="Channel", enum=["stable", "beta"]
        ),
        "copies": schema.ElicitationIntegerPropertySchema(
            type="integer", title="Copies", minimum=1, maximum=9
        ),
        "notify": schema.ElicitationBooleanPropertySchema(type="boolean", title="Notify"),
    }
    required = [] if properties else ["version"]
    requested = schema.ElicitationSchema(type="object", properties=asked, required=required)
    return schema.ElicitationFormSessionMode(session_id=session_id, requested_schema=requested)


def link(session_id: str, elicitation_id: str) -> schema.ElicitationUrlSessionMode:
    return schema.ElicitationUrlSessionMode(
        session_id=session_id,
        elicitation_id=elicitation_id,
        url=AnyUrl("https://login.example/start?a=1"),
    )


asyncio.run(acp.run_agent(cast("acp.Agent", ElicitingAgent()), use_unstable_protocol=True))
