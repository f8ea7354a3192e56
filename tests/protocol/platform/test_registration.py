"""The device flow's messages: what is read of them, whatever the platform answers."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.platform.registration import (
    Approved,
    AskLark,
    Begun,
    Denied,
    Pending,
    begin_form,
    grant_link,
    lark_link,
    link_to_show,
    poll_form,
    read_begun,
    read_poll,
    supports_us,
)

LINK = "https://open.feishu.cn/page/launcher?user_code=AB-CD"


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ({"error": "authorization_pending"}, Pending()),
        ({"error": "slow_down"}, Pending(slower_by_s=5)),
        (
            {"error": "access_denied", "error_description": "no"},
            Denied(error="access_denied", description="no"),
        ),
        ({}, Denied(error="invalid answer", description="")),
        ({"client_id": "cli_1", "user_info": {"tenant_brand": "lark"}}, AskLark()),
        (
            {"client_id": "cli_1", "client_secret": "s", "user_info": {"open_id": "ou_1"}},
            Approved(app_id="cli_1", app_secret="s", open_id="ou_1", brand="feishu"),
        ),
        (
            {"client_id": "cli_1", "client_secret": "s", "user_info": None},
            Approved(app_id="cli_1", app_secret="s", open_id=None, brand="feishu"),
        ),
    ],
)
def test_polls(answer: dict[str, Any], read: object) -> None:
    assert read_poll(answer) == read
    assert "s'" not in repr(read_poll(answer)) or not isinstance(read, Approved)


def test_expired_and_unknown_codes_may_be_renewed() -> None:
    assert [
        Denied(error=error, description="").expired
        for error in ("expired_token", "invalid_grant", "access_denied")
    ] == [True, True, False]


def test_defaults_and_bounds_of_begin() -> None:
    least = {"device_code": "d", "user_code": "AB-CD", "verification_uri_complete": LINK}
    assert read_begun(least) == Begun(
        device_code="d", user_code="AB-CD", link=LINK, interval_s=5, expires_s=600
    )
    given = read_begun({**least, "interval": 7, "expires_in": 300})
    assert given is not None
    assert (given.interval_s, given.expires_s) == (7, 300)
    odd = read_begun({**least, "interval": 10**9, "expires_in": -1})
    assert odd is not None
    assert (odd.interval_s, odd.expires_s) == (60, 600)
    assert read_begun({**least, "verification_uri_complete": "javascript:alert(1)"}) is None


def test_the_link_asks_for_what_larkd_needs() -> None:
    begun = Begun(device_code="d", user_code="AB-CD", link=LINK, interval_s=5, expires_s=600)
    query = parse_qs(urlsplit(link_to_show(begun, name="小助手")).query)
    assert query["user_code"] == ["AB-CD"]
    assert (query["from"], query["tp"]) == (["sdk"], ["sdk"])
    assert query["source"] == ["python-sdk/larkd"]
    assert query["name"] == ["小助手"]
    (packed,) = query["addons"]
    assert "=" not in packed
    wanted = json.loads(
        gzip.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
    )
    assert wanted["preset"] is False
    assert "cardkit:card:write" in wanted["scopes"]["tenant"]
    assert wanted["events"]["items"]["tenant"] == [
        "im.message.receive_v1",
        "im.message.recalled_v1",
    ]
    assert wanted["callbacks"]["items"] == ["card.action.trigger"]


values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2)
)
names = st.sampled_from(
    [
        "client_id",
        "client_secret",
        "user_info",
        "error",
        "device_code",
        "user_code",
        "interval",
        "expires_in",
        "verification_uri_complete",
    ]
)


@given(st.dictionaries(names, values))
def test_any_answer_is_read(answer: dict[str, Any]) -> None:
    assert isinstance(read_poll(answer), Approved | Pending | AskLark | Denied)
    begun = read_begun(answer)
    assert begun is None or 0 < begun.interval_s <= 60


def test_what_is_asked_of_the_accounts_host() -> None:
    assert begin_form() == {
        "action": "begin",
        "archetype": "PersonalAgent",
        "auth_method": "client_secret",
        "request_user_info": "open_id",
    }
    assert poll_form("dev") == {"action": "poll", "device_code": "dev"}


@pytest.mark.parametrize(
    ("methods", "supported"),
    [(["client_secret", "x"], True), (["x"], False), ("client_secret", False), (None, False)],
)
def test_a_host_that_makes_apps_otherwise_is_known(methods: object, supported: bool) -> None:
    assert supports_us({"supported_auth_methods": methods}) is supported


def test_the_links_that_people_open() -> None:
    begun = Begun(device_code="d", user_code="AB&CD", link=LINK, interval_s=5.0, expires_s=600.0)
    assert lark_link(begun) == "https://open.larksuite.com/page/cli?user_code=AB%26CD&from=cli"
    assert grant_link("https://open.feishu.cn", "cli_1", ["a:b", "c"]) == (
        "https://open.feishu.cn/app/cli_1/auth?q=a:b,c&op_from=openapi&token_type=tenant"
    )


@pytest.mark.parametrize(("given", "read"), [(0, 5.0), (0.5, 0.5), (1, 1.0), (True, 5.0)])
def test_an_interval_is_some_time(given: object, read: float) -> None:
    begun = read_begun(
        {
            "device_code": "d",
            "user_code": "u",
            "verification_uri_complete": LINK,
            "interval": given,
        }
    )
    assert begun is not None
    assert begun.interval_s == read


def test_what_the_platform_put_into_its_link_stays_there() -> None:
    begun = Begun(
        device_code="d", user_code="u", link=f"{LINK}&empty=", interval_s=5, expires_s=600
    )
    query = parse_qs(urlsplit(link_to_show(begun, name=None)).query, keep_blank_values=True)
    assert (query["empty"], query["user_code"]) == ([""], ["AB-CD"])
    assert "name" not in query
