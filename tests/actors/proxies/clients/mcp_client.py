"""The official Python MCP client, driven line by line: what it saw goes to stdout.

Usage: python mcp_client.py COMMAND [ARGUMENT…]
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import anyio
from mcp import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client


def report(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def main() -> None:
    command, *args = sys.argv[1:]
    server = StdioServerParameters(command=command, args=args, env=dict(os.environ))
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        initialized = await session.initialize()
        listed = await session.list_tools()
        report(server=initialized.server_info.name, tools=[one.name for one in listed.tools])
        async for line in anyio.wrap_file(sys.stdin):
            wish = json.loads(line)
            answer = await session.call_tool(wish["name"], wish["args"])
            text = getattr(answer.content[0], "text", "")
            report(called=wish["name"], error=answer.is_error, text=text)
    report(closed=True)


anyio.run(main)
