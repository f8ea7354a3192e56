"""``larkd mcp``: a stdio MCP server that is a Claude Code channel.

One process for each agent session, so it is small. It answers at once what it is and
which tools it has; the daemon is looked for after the client reported that it is ready, started
if nobody serves, and reached again for as long as the client is there. A message is
acked once it was written to the client, which does not mean that anybody has read it:
it counts as answered when a tool call names it.

It ends with its input, with its output, with its parent, or by a signal, at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from actors.kit.leaving import receive_leaving_signals
from actors.proxies.attachments import FETCHED, fetched
from actors.proxies.autostart import Autostart
from actors.proxies.client import Proxy, open_proxy
from actors.proxies.doctor import ask_doctor
from actors.proxies.errors import DaemonNotRunning, Disconnected, ProxyError, ToolCallFailed
from actors.proxies.placing import placed
from actors.proxies.reply_files import with_files
from actors.proxies.reporting import LinkReporter
from actors.proxies.settings import ProxySettings, of_environment
from actors.proxies.stdio import PrivateStdio
from protocol.agents import jsonrpc, mcp
from protocol.agents.jsonrpc import Id, JsonRpcMessage
from protocol.config.places import StateDir
from protocol.wire import messages as wire
from protocol.wire import vocabulary

LINE_BYTES_MAX: Final = 16 * 1024 * 1024
UNWRITTEN_MAX: Final = 256
CALLS_AT_ONCE_MAX: Final = 64
PARENT_EVERY_S: Final = 1.0
GOODBYE_S: Final = 0.05
"""Less than the 100 ms after which the client does not ask any more."""


async def serve(
    settings: ProxySettings, autostart: Autostart, stdio: PrivateStdio, *, inside: bool = False
) -> None:
    """Serve until the client is gone.

    *inside* an agent that ``larkd acp`` runs there is a session already: none is registered,
    and the tools are that session's.
    """
    async with trio.open_nursery() as nursery:
        server = _McpServer(settings, autostart, nursery, inside=inside)
        written = trio.Event()
        nursery.start_soon(_write_all, server.outgoing, stdio, nursery.cancel_scope, written)
        nursery.start_soon(_watch_parent, os.getppid(), nursery.cancel_scope)
        nursery.start_soon(_watch_signals, nursery.cancel_scope)
        lines = jsonrpc.LineReader(LINE_BYTES_MAX)
        while chunk := await stdio.read():
            for line in lines.feed(chunk):
                await server.take(line)
        server.close()
        with trio.move_on_after(GOODBYE_S):
            await written.wait()
        nursery.cancel_scope.cancel(reason="the client closed our input")


async def _write_all(
    outgoing: trio.MemoryReceiveChannel[JsonRpcMessage],
    stdio: PrivateStdio,
    whole: trio.CancelScope,
    written: trio.Event,
) -> None:
    try:
        async for message in outgoing:
            await stdio.write(jsonrpc.encode(message))
        written.set()
    except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
        whole.cancel(reason="nobody reads our output")


async def _watch_parent(parent: int, whole: trio.CancelScope) -> None:
    while os.getppid() == parent:  # noqa: ASYNC110  # nothing notifies of it
        await trio.sleep(PARENT_EVERY_S)
    whole.cancel(reason="the parent is dead")


async def _watch_signals(whole: trio.CancelScope) -> None:
    with receive_leaving_signals() as signals:
        async for _ in signals:
            whole.cancel(reason="signal")
            return


class _McpServer:
    """The server's end of one client's connection."""

    def __init__(
        self,
        settings: ProxySettings,
        autostart: Autostart,
        nursery: trio.Nursery,
        *,
        inside: bool,
    ) -> None:
        self._settings = settings
        self._autostart = autostart
        self._report = LinkReporter("larkd mcp")
        self._nursery = nursery
        self._tx, self.outgoing = trio.open_memory_channel[JsonRpcMessage](UNWRITTEN_MAX)
        self._proxy: Proxy | None = None
        self._attaching = False
        self._inside = inside
        self._calls: dict[Id, trio.CancelScope] = {}
        self._permissions: dict[str, trio.CancelScope] = {}
        self._requests: dict[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
            "initialize": mcp.initialize_result,
            "ping": lambda _params: {},
            "tools/list": lambda _params: {"tools": mcp.TOOLS},
        }

    # ── from the client ─────────────────────────────────────────────────────

    async def take(self, line: bytes | jsonrpc.LineTooLong) -> None:
        """Take one line; what takes time is done in a task of its own."""
        if isinstance(line, jsonrpc.LineTooLong):
            await self._send(jsonrpc.error(None, jsonrpc.PARSE_ERROR, str(line)))
            return
        try:
            message = jsonrpc.decode(line)
        except jsonrpc.NotAnObject as wrong:
            await self._send(jsonrpc.error(None, jsonrpc.PARSE_ERROR, f"no JSON object: {wrong}"))
            return
        method, number = message.get("method"), message.get("id")
        if not isinstance(method, str):
            if "result" not in message and "error" not in message:
                await self._send(jsonrpc.error(None, jsonrpc.INVALID_REQUEST, "no method"))
            return
        params = jsonrpc.params_of(message)
        if number is None:
            self._take_notification(method, params)
        elif not isinstance(number, int | str) or isinstance(number, bool):
            wrong_id = "id must be a string or an integer"
            await self._send(jsonrpc.error(None, jsonrpc.INVALID_REQUEST, wrong_id))
        else:
            await self._take_request(number, method, params)

    async def _take_request(self, number: Id, method: str, params: Mapping[str, Any]) -> None:
        if method == "tools/call":
            await self._begin_call(number, params)
            return
        answer = self._requests.get(method)
        if answer is None:
            unknown = f"Method not found: {method[:100]}"
            await self._send(jsonrpc.error(number, jsonrpc.METHOD_NOT_FOUND, unknown))
            return
        await self._send(jsonrpc.result(number, answer(params)))

    def _take_notification(self, method: str, params: Mapping[str, Any]) -> None:
        match method:
            case "notifications/initialized":
                self._attach()
            case "notifications/cancelled":
                asked = params.get("requestId")
                call = self._calls.get(asked) if isinstance(asked, int | str) else None
                if call is not None:
                    call.cancel(reason="the client cancelled it")
            case mcp.PERMISSION_REQUEST:
                request = mcp.permission_request(params)
                # Inside an agent, what it asks leave for comes by its own protocol.
                if request is not None and not self._inside:
                    self._begin_asking(request)

    async def _send(self, message: JsonRpcMessage) -> None:
        with suppress(trio.ClosedResourceError):  # the client has gone
            await self._tx.send(message)

    def close(self) -> None:
        """Send nothing more than what is on its way."""
        self._tx.close()

    # ── tools ───────────────────────────────────────────────────────────────

    async def _begin_call(self, number: Id, params: Mapping[str, Any]) -> None:
        name, args = params.get("name"), params.get("arguments")
        if not isinstance(name, str) or name not in mcp.TOOL_NAMES:
            await self._refuse(number, f"Unknown tool: {str(name)[:100]}")
            return
        if args is not None and not isinstance(args, dict):
            await self._refuse(number, "arguments must be an object")
            return
        if len(self._calls) >= CALLS_AT_ONCE_MAX or number in self._calls:
            await self._refuse(number, "too many calls at once, or an id in use")
            return
        # The session goes on, so what it asked leave for was decided at its terminal.
        for asked in self._permissions.values():
            asked.cancel(reason="the session went on")
        self._attach()
        self._calls[number] = trio.CancelScope()
        self._nursery.start_soon(self._call, number, name, args or {})

    async def _refuse(self, number: Id, why: str) -> None:
        await self._send(jsonrpc.error(number, jsonrpc.INVALID_PARAMS, why))

    async def _call(self, number: Id, name: str, args: dict[str, Any]) -> None:
        scope = self._calls[number]
        answer: JsonRpcMessage | None = None
        with scope:
            answer = await self._answer(name, args)
        del self._calls[number]
        if answer is not None:  # else it was cancelled, and nobody waits for it
            await self._send(jsonrpc.result(number, answer))

    async def _answer(self, name: str, args: dict[str, Any]) -> JsonRpcMessage:
        if name == mcp.DOCTOR:
            found = await ask_doctor(self._settings, verbose=args.get("verbose") is True)
            return mcp.tool_result(found)
        try:
            if self._proxy is None:
                raise Disconnected(mcp.NOT_REACHABLE)
            if self._proxy.ended is not None:
                raise Disconnected(f"this session is detached for good: {self._proxy.ended}")
            if name in ("reply", "send"):
                args = await with_files(self._settings, args)
            return mcp.tool_result(await self._proxy.call_tool(name, args))
        except (ToolCallFailed, Disconnected) as refused:
            return mcp.tool_result(str(refused), is_error=True)

    # ── the daemon ──────────────────────────────────────────────────────────

    def _attach(self) -> None:
        """Look for the daemon, once: some clients only list what there is, and go."""
        if not self._attaching:
            self._attaching = True
            self._nursery.start_soon(self._stay_attached)

    async def _stay_attached(self) -> None:
        async with open_proxy(self._settings, link_changed=self._link_changed) as proxy:
            self._proxy = proxy
            async for turn in proxy.turns():
                if await self._take_verdict(proxy, turn.deliver):
                    continue
                cwd = self._settings.metadata.get("cwd") or os.fspath(Path.cwd())
                deliver = await fetched(proxy, turn.deliver, Path(cwd) / FETCHED)
                if any(one.path is not None for one in deliver.attachments):
                    deliver = await trio.to_thread.run_sync(placed, deliver, cwd)
                await self._send(mcp.channel_notification(deliver))
                try:
                    await turn.ack()
                except Disconnected:
                    continue  # it comes again, marked by its attempt

    def _link_changed(self, registered: wire.Registered | None, why: ProxyError | None) -> None:
        self._report(registered, why)
        if registered is None and isinstance(why, DaemonNotRunning | Disconnected):
            self._autostart.nobody_serves()

    # ── permissions ─────────────────────────────────────────────────────────

    def _begin_asking(self, request: wire.PermissionRequest) -> None:
        """Ask, unless that is asked already; of very many at once the terminal decides."""
        known = request.request_id in self._permissions
        if not known and len(self._permissions) < CALLS_AT_ONCE_MAX:
            self._permissions[request.request_id] = trio.CancelScope()
            self._nursery.start_soon(self._ask_permission, request)

    async def _ask_permission(self, request: wire.PermissionRequest) -> None:
        scope = self._permissions[request.request_id]
        verdict: wire.PermissionVerdict | None = None
        with scope:
            try:
                if self._proxy is not None:
                    verdict = await self._proxy.ask_permission(request)
            except Disconnected:
                pass  # it can still be answered at the terminal
        del self._permissions[request.request_id]
        if verdict is not None and verdict.option_id is not None:
            await self._send(mcp.permission_notification(request.request_id, verdict.option_id))

    async def _take_verdict(self, proxy: Proxy, deliver: wire.Deliver) -> bool:
        """Take an admin's typed answer to an open question, in a direct chat only."""
        typed = mcp.verdict_words(deliver.content)
        by_admin = deliver.meta.get("sender_role") == "admin"
        if typed is None or not by_admin or deliver.meta.get("chat_type") != "p2p":
            return False
        request_id, option_id = typed
        asked = self._permissions.get(request_id)
        if asked is None:
            return False
        asked.cancel(reason="it was answered by a word")
        await self._send(mcp.permission_notification(request_id, option_id))
        self._nursery.start_soon(self._acknowledge_word, proxy, deliver, option_id)
        return True

    async def _acknowledge_word(self, proxy: Proxy, deliver: wire.Deliver, option_id: str) -> None:
        args = {
            "chat_id": deliver.chat_id,
            "message_id": deliver.meta.get("message_id", ""),
            "text": "✅" if option_id == mcp.ALLOW else "⛔",
        }
        try:
            await proxy.call_tool("reply", args)
        except (ToolCallFailed, Disconnected):
            return


def main(state: StateDir, environment: Mapping[str, str]) -> int:
    """Run the server on this process's standard input and output.

    Raises:
        ValueError: the environment names a role that is none.
    """
    role = mcp.role_of(environment)
    cwd = environment.get("CLAUDE_PROJECT_DIR") or os.fspath(Path.cwd())
    settings = ProxySettings(
        session_id=mcp.session_id_of(role, environment, os.path.realpath(cwd)),
        state_dir=Path(state.root),
        role=role,
        metadata=mcp.metadata_of(environment, cwd),
        capabilities=(vocabulary.CAPABILITY_PERMISSION,),
        waits_for_daemon=True,
        goodbye_s=GOODBYE_S,
    )
    inside = environment.get("LARKD_INSIDE") == "acp"
    if inside:
        settings = msgspec.structs.replace(
            settings,
            session_id=environment.get("LARKD_SESSION_ID") or settings.session_id,
            role="observer",
            token_file=state.token(role),
            capabilities=(vocabulary.CAPABILITY_INSIDE,),
        )
    settings = of_environment(settings, environment)
    stdio = PrivateStdio()
    trio.run(partial(serve, settings, Autostart(state, environment), stdio, inside=inside))
    return 0
