"""The adapter to the platform: the one importer of wsproto, httpx and protobuf."""
