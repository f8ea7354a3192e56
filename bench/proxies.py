"""What a proxy costs its session: how soon its tools are listed, and how much it holds.

One runs for each agent session, dozens on a machine. Beside ours: the MCP SDK's own
server with one tool, which is the least one can write with it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.loopback import percentile, table

READY_S_MAX = 0.3
READY_RATIO_MAX = 0.4
"""Of what the SDK's server takes in the same run: the clock of a busy machine judges nobody."""
RSS_MB_MAX = 40.0
SDK_SERVER = """
from mcp.server import MCPServer
server = MCPServer("minimal")
@server.tool()
def ping() -> str:
    return "pong"
server.run()
"""
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parsed = parser.parse_args()
    larkd = str(Path(sys.executable).with_name("larkd"))
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "larkd mcp": [larkd, "mcp", "--state-dir", folder],
            "MCP SDK's server": [sys.executable, "-c", SDK_SERVER],
        }
        rounds = [
            {name: measure(command) for name, command in commands.items()}
            for _ in range(parsed.runs)
        ]
    ready_s = {name: percentile([one[name][0] for one in rounds], 0.5) for name in commands}
    rss_mb = {name: max(one[name][1] for one in rounds) for name in commands}
    rows = [
        (name, f"tools listed after {ready_s[name] * 1000:.0f} ms (median), {rss_mb[name]:.0f} MB")
        for name in commands
    ]
    ours, theirs = ready_s.values()
    rows.append(("larkd / SDK", f"{ours / theirs:.2f}"))
    is_fast = ours <= READY_S_MAX or ours <= theirs * READY_RATIO_MAX
    good = is_fast and rss_mb["larkd mcp"] <= RSS_MB_MAX
    rows.append(("verdict", "as promised" if good else "TOO MUCH"))
    table(rows)
    return 0 if good else 1


def measure(command: list[str]) -> tuple[float, float]:
    """Return seconds from the start to the tools' list, and the resident memory in MB."""
    started = time.perf_counter()
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"LARKD_AUTOSTART": "0"},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for message in (
            {"id": 0, "method": "initialize", "params": HELLO},
            {"method": "notifications/initialized"},
            {"id": 1, "method": "tools/list", "params": {}},
        ):
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        process.stdin.flush()
        while json.loads(process.stdout.readline()).get("id") != 1:
            pass
        took_s = time.perf_counter() - started
        status = Path(f"/proc/{process.pid}/status").read_text()
        rss_kb = next(
            int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")
        )
        process.stdin.close()
        process.wait(timeout=10)
    return took_s, rss_kb / 1024


if __name__ == "__main__":
    raise SystemExit(main())
