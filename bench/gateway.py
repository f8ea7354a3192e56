"""What a call to the platform costs: pooled here, against lark-oapi's own clients.

A tiny platform on loopback answers at once, or as late as the real one; each client is
a process of its own and streams 2 KB of text into a card for two seconds, 64 calls at a
time where it can. The rate budget is not in the way, and neither is TLS, which clients
that connect for each call would pay for each call.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial

import httpx
import trio

from actors.feishu.http import CONNECTIONS_MAX, Platform
from actors.messages import gateway
from bench.loopback import percentile
from protocol.ids import CardId
from protocol.platform.outcomes import Accepted, NoAnswer, Outcome

MEASURE_S = 2.0
LATE_S = 0.05
"""About what an update of a card takes over the Internet."""
TEXT = "All work and no play makes Jack a dull boy.\n" * 46
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
    b"Content-Length: %d\r\n\r\n%s"
)
BODY = b'{"code":0,"msg":"success","data":{},"tenant_access_token":"t-bench","expire":7200}'

LARK_OAPI = """
import asyncio, json, sys, time
import lark_oapi as lark
from lark_oapi.api.cardkit.v1 import ContentCardElementRequest, ContentCardElementRequestBody
base_url, kind, at_once, seconds, text = json.load(sys.stdin)
lark.logger.setLevel(50)
client = lark.Client.builder().app_id("cli_a").app_secret("s").domain(base_url).build()
took, started, cpu = [], 0.0, 0.0
def request(sequence):
    body = ContentCardElementRequestBody.builder().content(text).sequence(sequence).uuid("u")
    builder = ContentCardElementRequest.builder().card_id("7").element_id("answer")
    return builder.request_body(body.build()).build()
def begin():
    global started, cpu
    assert client.cardkit.v1.card_element.content(request(1)).code == 0
    started, cpu = time.perf_counter(), time.process_time()
def going():
    return time.perf_counter() < started + seconds
def blocking():
    begin()
    while going():
        at = time.perf_counter()
        assert client.cardkit.v1.card_element.content(request(1)).code == 0
        took.append(time.perf_counter() - at)
async def one():
    while going():
        at = time.perf_counter()
        assert (await client.cardkit.v1.card_element.acontent(request(1))).code == 0
        took.append(time.perf_counter() - at)
async def many():
    begin()
    await asyncio.gather(*(one() for _ in range(at_once)))
blocking() if kind == "blocking" else asyncio.run(many())
print(json.dumps([took, time.perf_counter() - started, time.process_time() - cpu]))
"""


async def answer(late_s: float, stream: trio.SocketStream) -> None:
    """Answer every request of a connection the same, *late_s* after it."""
    whole = ANSWER % (len(BODY), BODY)
    received = bytearray()
    try:
        while True:
            head_end = received.find(b"\r\n\r\n")
            if head_end >= 0:
                head = bytes(received[:head_end]).lower()
                _, found, after = head.partition(b"content-length:")
                end = head_end + 4 + (int(after.split(b"\r\n", 1)[0]) if found else 0)
                if len(received) >= end:
                    del received[:end]
                    await trio.sleep(late_s)
                    await stream.send_all(whole)
                    continue
            chunk = await stream.receive_some(65_536)
            if not chunk:
                return
            received += chunk
    except trio.BrokenResourceError:
        return


async def serve(late_s: float) -> None:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, partial(answer, late_s), 0)
        print(listeners[0].socket.getsockname()[1], flush=True)
        # Whoever started it closes its stdin when done.
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


async def pooled(base_url: str) -> None:
    took: list[float] = []
    async with Platform(base_url, "cli_a", "s") as platform:

        async def call() -> Outcome:
            return await platform.perform(
                gateway.ElementContent(
                    card_id=CardId("7"), element_id="answer", content=TEXT, sequence=1, uuid="u"
                )
            )

        async def one() -> None:
            while time.perf_counter() < started + MEASURE_S:
                at = time.perf_counter()
                outcome = await call()
                assert isinstance(outcome, Accepted), outcome
                took.append(time.perf_counter() - at)

        first = await call()
        assert not isinstance(first, NoAnswer), first
        started, cpu = time.perf_counter(), time.process_time()
        async with trio.open_nursery() as nursery:
            for _ in range(CONNECTIONS_MAX):
                nursery.start_soon(one)
        ended, cpu_ended = time.perf_counter(), time.process_time()
    print(json.dumps([took, ended - started, cpu_ended - cpu]))


async def bare(base_url: str) -> None:
    """The yardstick: the same requests by a pooled client with nothing around them."""
    took: list[float] = []
    path = f"{base_url}/open-apis/cardkit/v1/cards/7/elements/answer/content"
    body = json.dumps({"content": TEXT, "uuid": "u", "sequence": 1}).encode()
    limits = httpx.Limits(max_connections=CONNECTIONS_MAX)
    async with httpx.AsyncClient(limits=limits, trust_env=False, verify=False) as http:  # noqa: S501  # plain HTTP

        async def one() -> None:
            while time.perf_counter() < started + MEASURE_S:
                at = time.perf_counter()
                (await http.put(path, content=body)).raise_for_status()
                took.append(time.perf_counter() - at)

        await http.put(path, content=body)
        started, cpu = time.perf_counter(), time.process_time()
        async with trio.open_nursery() as nursery:
            for _ in range(CONNECTIONS_MAX):
                nursery.start_soon(one)
        ended, cpu_ended = time.perf_counter(), time.process_time()
    print(json.dumps([took, ended - started, cpu_ended - cpu]))


async def measure(
    name: str, answered: str, command: list[str], stdin: str, yardstick_s: float | None = None
) -> float:
    """Print a client's figures; return the CPU seconds of one call, also over the yardstick's."""
    with trio.fail_after(12):
        done = await trio.run_process(
            [sys.executable, *command],
            stdin=stdin.encode(),
            capture_stdout=True,
            stderr=subprocess.DEVNULL,
        )
    took, lasted_s, cpu_s = json.loads(done.stdout)
    call_s = float(cpu_s / len(took))
    print(
        f"{name:<32}{answered:>12}{len(took) / lasted_s:>9.0f}{call_s * 1e3:>13.2f}"
        f"{call_s / (yardstick_s or call_s):>9.1f}"
        f"{percentile(took, 0.5) * 1e3:>9.1f}{percentile(took, 0.99) * 1e3:>9.1f}"
    )
    return call_s


async def compare(late_s: float) -> None:
    """Measure every client against a platform that answers *late_s* after each request."""
    platform = await trio.lowlevel.open_process(
        [sys.executable, "-m", "bench.gateway", "serve", str(late_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert platform.stdin is not None
    assert platform.stdout is not None
    try:
        with trio.fail_after(10):
            port = int(await platform.stdout.receive_some(64))
        base_url, after = f"http://127.0.0.1:{port}", f"{late_s * 1e3:.0f} ms"
        alone = ["-m", "bench.gateway", "bare", base_url]
        bare_s = await measure("httpx alone, pooled (yardstick)", after, alone, "")
        ours = ["-m", "bench.gateway", "pooled", base_url]
        await measure(f"gateway, pooled, {CONNECTIONS_MAX} at once", after, ours, "", bare_s)
        for kind, name in (("blocking", "blocking, 1 at once"), ("async", "async, 64 at once")):
            job = json.dumps([base_url, kind, CONNECTIONS_MAX, MEASURE_S, TEXT])
            await measure(f"lark-oapi, {name}", after, ["-c", LARK_OAPI], job, bare_s)
    finally:
        platform.terminate()
        with trio.move_on_after(5, shield=True):
            await platform.wait()


async def main() -> None:
    print(
        f"{'client':<32}{'answered in':>12}{'calls/s':>9}{'CPU ms/call':>13}"
        f"{'ratio':>9}{'p50 ms':>9}{'p99 ms':>9}"
    )
    for late_s in (0.0, LATE_S):
        await compare(late_s)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", late]:
            trio.run(serve, float(late))
        case ["pooled", base_url]:
            trio.run(pooled, base_url)
        case ["bare", base_url]:
            trio.run(bare, base_url)
        case _:
            trio.run(main)
