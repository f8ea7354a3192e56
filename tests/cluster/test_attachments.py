"""What messages carry, on the node that did not fetch it and for proxies of other machines."""

from __future__ import annotations

import base64
import json
import shutil
import signal
from pathlib import Path

import trio

from actors.proxies.attachments import fetched
from actors.proxies.client import ProxySettings, open_proxy
from protocol.wire.addresses import parse_addresses
from tests.cluster.nodes import Certificates, Fleet, Node
from tests.kit.daemon import Platform, open_platform
from tests.kit.postgres import Server
from tests.kit.raw_proxy import session

DATA = bytes(range(256)) * 10_240
"""2.5 MiB: three answers."""


async def send_file(platform: Platform) -> None:
    key = (await platform.post("upload", kind="file", base64=base64.b64encode(DATA).decode()))[
        "key"
    ]
    content = json.dumps({"file_key": key, "file_name": "report.pdf"})
    await platform.send(await platform.chat(), "", message_type="file", content=content)


async def wait_file(node: Node) -> Path:
    """Wait until the node has saved what the message carries."""
    with trio.fail_after(60):
        while True:
            for found in (node.state_dir / "attachments").rglob("*report.pdf"):
                return found
            await trio.sleep(0.05)


async def test_a_file_follows_its_message_to_another_node_and_over_the_wire(
    server: Server, certificates: Certificates, cluster: str, root: Path
) -> None:
    async with open_platform() as platform:
        fleet = Fleet(platform, root, server.url(), cluster, certificates)
        async with fleet.pair() as (a, b):
            await platform.wait_connected()
            await send_file(platform)
            there = await wait_file(a)
            a.signal(signal.SIGTERM)
            await b.wait_ready()
            shutil.rmtree(there.parent)

            # A session beside the node is given a path of this machine.
            async with session(b.state_dir, "boss", "dispatcher") as boss:
                (given,) = (await boss.until("deliver"))["attachments"]
                here = Path(given["path"])
                assert here.is_relative_to(b.state_dir)
                assert here.read_bytes() == DATA
                assert given["size"] == len(DATA)

            # One of another machine is given none, and asks for it piece by piece.
            settings = ProxySettings(
                session_id="boss",
                role="dispatcher",
                addresses=parse_addresses(b.tls_address) or (),
                token_file=b.state_dir / "tokens" / "dispatcher.token",
                ca_file=certificates.ca,
            )
            async with open_proxy(settings) as proxy:
                turn = await anext(proxy.turns())
                assert (turn.deliver.attempt, turn.deliver.attachments[0].path) == (2, None)
                async with session(b.state_dir, "mate") as mate:
                    asked = {
                        "event_id": turn.deliver.event_id,
                        "file_key": turn.deliver.attachments[0].file_key,
                    }
                    answer = await mate.tool("feishu_attachment", 1, **asked)
                    assert (answer["ok"], answer["error"]) == (False, "attachment not found")
                shutil.rmtree(here.parent)  # as on a node that was sent nothing of it
                deliver = await fetched(proxy, turn.deliver, root / "work" / "fetched")
                (attachment,) = deliver.attachments
                assert attachment.path is not None
                assert Path(attachment.path).read_bytes() == DATA
                assert Path(attachment.path).stat().st_mode & 0o777 == 0o600
                piece = await proxy.call_tool("feishu_attachment", {**asked, "offset": 2**21})
                assert piece == {"data": DATA[2**21 :], "size": len(DATA), "next": None}
                async with turn:
                    await turn.send("read")


async def test_a_file_the_platform_does_not_give_again_is_named(
    server: Server, certificates: Certificates, cluster: str, root: Path
) -> None:
    async with open_platform() as platform:
        fleet = Fleet(platform, root, server.url(), cluster, certificates)
        async with fleet.node("a") as a:
            await a.wait_ready()
            await platform.wait_connected()
            await send_file(platform)
            there = await wait_file(a)
            template = "/open-apis/im/v1/messages/:message_id/resources/:file_key"
            refused = {"kind": "code", "code": 234004, "times": None}
            await platform.post("faults", match={"template": template}, **refused)
            shutil.rmtree(there.parent)
            async with session(a.state_dir, "boss", "dispatcher") as boss:
                deliver = await boss.until("deliver")
                (given,) = deliver["attachments"]
                assert given["path"] is None
                assert given["note"] == "it is not on this machine, and could not be fetched again"
                asked = {"event_id": deliver["event_id"], "file_key": given["file_key"]}
                answer = await boss.tool("feishu_attachment", 1, **asked)
                assert answer["error"].startswith("the platform does not give the attachment")
                answer = await boss.tool("feishu_attachment", 2, **asked, offset=-1)
                assert answer["error"] == "offset must be a number from 0"
