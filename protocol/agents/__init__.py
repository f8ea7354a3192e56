"""The protocols of coding agents.

JSON-RPC, MCP as a Claude Code channel, and ACP.
"""
