"""Commands of a machine that runs no node, over TLS to whichever node holds the cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from actors.proxies.client import DaemonNotRunning, ProxySettings, open_proxy
from protocol.wire.addresses import parse_address
from tests.cluster.nodes import Certificates, Fleet, echoing, free_port
from tests.kit.daemon import open_platform
from tests.kit.postgres import Server


async def test_commands_find_the_holder_and_act_with_the_role_they_need(
    server: Server, certificates: Certificates, cluster: str, root: Path
) -> None:
    async with open_platform() as platform:
        fleet = Fleet(platform, root, server.url(), cluster, certificates)
        async with (
            fleet.node("a") as a,
            echoing([a], ["boss", "mate"], certificates) as (boss, mate),
        ):
            await a.wait_ready()
            await boss.wait_registered("a")
            await mate.wait_registered("a")
            async with fleet.node("b") as b:
                await b.wait_standing_by()
                # Only the standby is named: it says where the holder is.
                status, shown, why = await fleet.from_afar(a, "status", "--json", at=b.tls_address)
                assert (status, why) == (0, "")
                assert json.loads(shown)["daemon"]["node"] == "a"
                status, _, why = await fleet.from_afar(
                    a, "handoff", "grant", "mate", at=b.tls_address
                )
                assert (status, why) == (0, "")
                _, shown, _ = await fleet.from_afar(a, "status", "--json", at=b.tls_address)
                assert json.loads(shown)["granted_session_id"] == "mate"


async def test_a_node_that_is_gone_is_passed_over(
    server: Server, certificates: Certificates, cluster: str, root: Path
) -> None:
    async with open_platform() as platform:
        fleet = Fleet(platform, root, server.url(), cluster, certificates)
        gone = f"tls://localhost:{free_port()}"
        async with fleet.node("a") as a:
            await a.wait_ready()
            both = f"{gone},{a.tls_address}"
            status, shown, _ = await fleet.from_afar(a, "status", "--json", at=both)
            assert (status, json.loads(shown)["daemon"]["node"]) == (0, "a")
            status, _, why = await fleet.from_afar(a, "status", at=gone)
            assert status == 1
            assert why.startswith(f"larkd status: no node at LARKD_ADDRESS ({gone}) serves: ")
            status, _, why = await fleet.from_afar(a, "status", at="a.example")
            assert status != 0
            assert "LARKD_ADDRESS: 'a.example' is no list of addresses" in why
            only_session = root / "mine"
            only_session.write_bytes((a.state_dir / "tokens" / "session.token").read_bytes())
            # A session's token shows the status, and hands nothing over.
            status, _, why = await fleet.from_afar(
                a, "status", at=a.tls_address, LARKD_TOKEN_FILE=str(only_session)
            )
            assert (status, why) == (0, "")
            status, _, why = await fleet.from_afar(
                a, "handoff", "reclaim", at=a.tls_address, LARKD_TOKEN_FILE=str(only_session)
            )
            assert status == 1
            assert "(bad_proof); use the token of this role" in why


@pytest.mark.parametrize(
    ("days", "names", "reason"),
    [
        (-1, "DNS:localhost", "certificate has expired"),
        (2, "DNS:other.example", "Hostname mismatch"),
    ],
    ids=["expired", "of another name"],
)
async def test_a_certificate_that_proves_nothing_is_believed_by_nobody(
    days: int, names: str, reason: str, server: Server, cluster: str, root: Path
) -> None:
    folder = root / "certificates"
    folder.mkdir()
    wrong = Certificates.made(folder, days=days, names=names)
    async with open_platform() as platform:
        fleet = Fleet(platform, root, server.url(), cluster, wrong)
        async with fleet.node("a") as a:
            await a.wait_ready()
            status, _, why = await fleet.from_afar(a, "status", at=a.tls_address)
            assert status == 1
            assert reason in why
            address = parse_address(a.tls_address)
            assert address is not None
            settings = ProxySettings(
                session_id="s",
                addresses=(address,),
                token_file=a.state_dir / "tokens" / "session.token",
                ca_file=wrong.ca,
            )
            with pytest.raises(DaemonNotRunning, match=reason):
                async with open_proxy(settings):
                    raise AssertionError("a session was registered")
