"""A peer of JSON-RPC: what the other side asks, and takes back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import trio
import trio.testing

from actors.proxies.rpc import Peer
from protocol.agents import jsonrpc


async def test_a_request_that_is_taken_back_is_answered_so_and_its_work_ends() -> None:
    """In one piece, too: the cancellation may be read before the request's task has begun."""
    ours, theirs = trio.testing.memory_stream_pair()
    at_work, begun, ended = trio.Event(), 0, 0

    async def requested(_method: str, _params: Mapping[str, Any]) -> Any:
        nonlocal begun, ended
        begun += 1
        at_work.set()
        try:
            await trio.sleep_forever()
        finally:
            ended += 1

    async def notified(method: str, _params: Mapping[str, Any]) -> None:
        raise AssertionError(method)

    async def answer() -> Any:
        return json.loads(await theirs.receive_some())

    peer = Peer(ours, ours, on_notification=notified, on_request=requested)
    cancelled = {"code": jsonrpc.REQUEST_CANCELLED, "message": "Request cancelled"}
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.run)
            await theirs.send_all(jsonrpc.encode(jsonrpc.request(7, "wait", {})))
            await at_work.wait()
            cancel = jsonrpc.encode(jsonrpc.notification("$/cancel_request", {"requestId": 7}))
            await theirs.send_all(cancel)
            assert await answer() == {"jsonrpc": "2.0", "id": 7, "error": cancelled}
            await theirs.send_all(cancel)  # once more, for nothing
            both = jsonrpc.encode(jsonrpc.request("8", "wait", {})) + jsonrpc.encode(
                jsonrpc.notification("$/cancel_request", {"requestId": "8"})
            )
            await theirs.send_all(both)
            assert await answer() == {"jsonrpc": "2.0", "id": "8", "error": cancelled}
            nursery.cancel_scope.cancel()
    assert begun == ended
