"""An MCP server on the official SDK, whose tool asks people while it runs."""

from __future__ import annotations

from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel, Field

server = MCPServer("asker")


class Booking(BaseModel):
    """What it asks."""

    seats: int = Field(description="How many seats?", ge=1, le=9)
    window: bool = Field(default=False, description="At the window?")


@server.tool()
async def book(ctx: Context) -> str:
    """Book a table."""
    answer = await ctx.elicit("For your table", Booking)
    if answer.action != "accept":
        return f"the person answered {answer.action}"
    return f"booked {answer.data.seats} seats, window {answer.data.window}"


if __name__ == "__main__":
    server.run()
