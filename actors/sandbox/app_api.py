"""An app's own side: tokens, endpoint discovery, its bot, scopes, connections, speech."""

from __future__ import annotations

import base64
import re
from typing import Any, Final

from starlette.routing import Route

from actors.sandbox.errors import PlatformError
from actors.sandbox.longconn import EXCEED_CONNECTIONS, LongConnections
from actors.sandbox.rest import ApiCall, ApiHandler, OpenApi
from actors.sandbox.tokens import IssuedTokens
from actors.sandbox.world import World

SPEECH_BYTES_MAX: Final = 60 * 16_000 * 2
"""The API takes 60 s at most; 16 kHz, 16 bit, one channel."""
GRANTED: Final = 1
_FILE_ID: Final = re.compile(r"[A-Za-z0-9_]{16}", re.ASCII)


class AppApi:
    def __init__(self, world: World, tokens: IssuedTokens, sockets: LongConnections) -> None:
        self._world = world
        self._tokens = tokens
        self._sockets = sockets
        self.lists_scopes = True
        """Off: the list of scopes is empty, as has been seen with apps made by a scan."""
        self.recognised = "recognised speech"
        """What any speech is taken for; the sandbox understands none."""

    def routes(self, api: OpenApi) -> list[Route]:
        async def scopes(call: ApiCall) -> Any:
            names = sorted(api.granted(call.app_id)) if self.lists_scopes else []
            return {
                "scopes": [
                    {"scope_name": name, "grant_status": GRANTED, "scope_type": "tenant"}
                    for name in names
                ]
            }

        table: list[tuple[str, str, ApiHandler]] = [
            ("GET", "/open-apis/bot/v3/info", self._bot_info),
            ("GET", "/open-apis/event/v1/connection", self._connection),
            ("GET", "/open-apis/application/v6/scopes", scopes),
            ("POST", "/open-apis/speech_to_text/v1/speech/file_recognize", self._recognise),
        ]
        open_table: list[tuple[str, str, ApiHandler]] = [
            ("POST", "/open-apis/auth/v3/tenant_access_token/internal", self._tenant_token),
            ("POST", "/open-apis/auth/v3/app_access_token/internal", self._app_token),
            ("POST", "/callback/ws/endpoint", self._endpoint),
        ]
        return [*api.routes(table), *api.routes(open_table, needs_token=False)]

    async def _tenant_token(self, call: ApiCall) -> Any:
        app = self._tokens.app(call.body.get("app_id"), call.body.get("app_secret"))
        token, expire = self._tokens.issue(app)
        return {"code": 0, "msg": "ok", "tenant_access_token": token, "expire": expire}

    async def _app_token(self, call: ApiCall) -> Any:
        answer = await self._tenant_token(call)
        return {**answer, "app_access_token": answer["tenant_access_token"]}

    async def _endpoint(self, call: ApiCall) -> Any:
        app_id, secret = call.body.get("AppID"), call.body.get("AppSecret")
        app = self._world.apps.get(app_id) if isinstance(app_id, str) else None
        if app is None or app.secret != secret:
            # ``data`` is there with every error: one client reads it before the code.
            return {"code": 514, "msg": "auth failed", "data": {}}
        if self._sockets.full(app.app_id):
            return {
                "code": EXCEED_CONNECTIONS,
                "msg": "the number of connections exceeded the limit",
                "data": {},
            }
        return {
            "code": 0,
            "msg": "",
            "data": {
                "URL": self._sockets.issue_ticket(app.app_id),
                "ClientConfig": self._sockets.client_config,
            },
        }

    async def _bot_info(self, call: ApiCall) -> Any:
        app = self._world.apps[call.app_id]
        bot = {
            "activate_status": 2,
            "app_name": app.name,
            "avatar_url": "",
            "ip_white_list": [],
            "open_id": app.bot_open_id,
        }
        return {"code": 0, "msg": "ok", "bot": bot}

    async def _connection(self, call: ApiCall) -> Any:
        """How many long connections the app has at this moment."""
        online = sum(one.app_id == call.app_id for one in self._sockets.connections.values())
        return {"online_instance_cnt": online}

    async def _recognise(self, call: ApiCall) -> Any:
        speech, config = call.body.get("speech"), call.body.get("config")
        if not isinstance(speech, dict) or not isinstance(config, dict):
            raise PlatformError(99992402, "field validation failed: speech, config")
        known = config.get("format") == "pcm" and config.get("engine_type") == "16k_auto"
        if not known or not _FILE_ID.fullmatch(str(config.get("file_id", ""))):
            raise PlatformError(99992402, "field validation failed: config")
        try:
            sound = base64.b64decode(str(speech.get("speech", "")), validate=True)
        except ValueError as wrong:
            raise PlatformError(99992402, "field validation failed: speech") from wrong
        if not sound or len(sound) > SPEECH_BYTES_MAX:
            raise PlatformError(99992402, "field validation failed: 1 to 60 seconds of speech")
        return {"recognition_text": self.recognised}
