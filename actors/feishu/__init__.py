"""The adapter to the platform: the one importer of trio_websocket, httpx and protobuf."""
