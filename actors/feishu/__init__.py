"""The adapter to the platform: the one importer of lark_oapi, trio_websocket and httpx."""
