"""Every code of the platform that means something to us, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.platform.codes import (
    MESSAGE_CHARS_MAX,
    RETRY_AFTER_DEFAULT_S,
    RETRY_AFTER_MAX_S,
    classify,
)
from protocol.platform.outcomes import (
    Accepted,
    Busy,
    ConnectionLimit,
    CredentialsRefused,
    Gone,
    MissingScope,
    NoAnswer,
    Outcome,
    RateLimited,
    Rejected,
    SequenceRefused,
    StreamingClosed,
    TokenRefused,
    TooLarge,
    again_after_s,
)
from tests.kit.json_values import json_values

MEANINGS: Mapping[type[Outcome], tuple[int, ...]] = {
    RateLimited: (99991400, 230020, 11232),
    StreamingClosed: (200850, 300309, 200510),
    SequenceRefused: (300317, 200770),
    Busy: (200810, 230049),
    TooLarge: (200860, 230025, 300305),
    Gone: (200740, 200750, 230011, 230031, 230110, 231003),
    TokenRefused: (99991661, 99991663, 99991664, 99991665, 99991668, 99991671),
    MissingScope: (99991672,),
    CredentialsRefused: (10003, 10005, 10014, 10015, 20002, 403, 514, 1000040344, 1000040345),
    ConnectionLimit: (1000040350,),
    NoAnswer: (1, 1000040343, 1500, 2200, 5000, 10500, 1000003, 10012, 10013, 300120),
    # Nothing to be done but to report it: a bad request, a chat that does not let us in.
    Rejected: (230001, 230002, 230013, 230018, 230099, 10002, 300301, 300311, 99991403),
}


def answer(code: int, msg: str = "why", **error: Any) -> dict[str, Any]:
    return {"code": code, "msg": msg, **({"error": error} if error else {})}


@pytest.mark.parametrize(
    ("code", "meaning"),
    [(code, meaning) for meaning, codes in MEANINGS.items() for code in codes],
)
def test_each_code_has_its_meaning(code: int, meaning: type[Outcome]) -> None:
    # The status adds nothing: endpoint discovery and tokens refuse with HTTP 200.
    for status in (200, 400):
        outcome = classify(status, {}, answer(code))
        assert type(outcome) is meaning
        if isinstance(outcome, Rejected):
            assert (outcome.code, outcome.message) == (code, "why")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ogw-ratelimit-reset": "7"}, 7.0),
        ({"X-Ogw-Ratelimit-Reset": "0.5", "Retry-After": "9"}, 0.5),
        ({"Retry-After": "3"}, 3.0),
        ({"x-ogw-ratelimit-reset": "soon", "Retry-After": "3"}, 3.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, RETRY_AFTER_DEFAULT_S),
        ({"Retry-After": "-1"}, RETRY_AFTER_DEFAULT_S),
        ({"Retry-After": "nan"}, RETRY_AFTER_DEFAULT_S),
        ({"Retry-After": "inf"}, RETRY_AFTER_MAX_S),
        ({"Retry-After": "86400"}, RETRY_AFTER_MAX_S),
        ({}, RETRY_AFTER_DEFAULT_S),
    ],
)
def test_a_rate_limit_names_how_long(headers: dict[str, str], seconds: float) -> None:
    outcome = classify(429, httpx.Headers(headers), answer(99991400))
    assert isinstance(outcome, RateLimited)
    assert outcome.retry_after_s == seconds


@pytest.mark.parametrize("body", [None, {}, {"msg": "slow down"}, answer(123)])
def test_http_429_is_a_rate_limit_whatever_its_body(body: dict[str, Any] | None) -> None:
    outcome = classify(429, {"retry-after": "2"}, body)
    assert isinstance(outcome, RateLimited)
    assert outcome.retry_after_s == 2.0


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, None),
        (502, None),
        (200, {}),
        (400, {"code": "230011"}),
        (400, {"code": True}),
        (200, {"code": 0.0}),
        (400, {"code": None}),
        (500, answer(230011)),
        (503, answer(99991663)),
    ],
)
def test_what_nobody_can_be_sure_of_is_no_answer(status: int, body: dict[str, Any] | None) -> None:
    outcome = classify(status, {}, body)
    assert isinstance(outcome, NoAnswer)
    assert f"HTTP {status}" in outcome.reason


@pytest.mark.parametrize(
    ("sub_code_and_text", "meaning"),
    [
        ("ErrCode: 11310; ErrMsg: element exceeds the limit; ErrorValue: 201;", TooLarge),
        ("ErrCode: 11310; ErrMsg: card table number over limit;", TooLarge),
        ("ErrCode: 300305; ErrMsg: too many;", TooLarge),
        ("ErrCode: 11310; ErrMsg: card action is lock;", Rejected),
        ("ErrCode: 11310; ErrMsg: template is not visible to app cli_x;", Rejected),
        ("ErrCode: 200621; ErrPath: ROOT -> body; ErrMsg: parse card json err;", Rejected),
        ("nothing more", Rejected),
    ],
)
def test_card_content_refused_has_its_reason_inside_its_text(
    sub_code_and_text: str, meaning: type[Outcome]
) -> None:
    text = f"Failed to create card content, ext={sub_code_and_text}"
    assert type(classify(400, {}, answer(230099, text))) is meaning


GRANT = "https://open.feishu.cn/app/cli_a1/auth?q=im:message&op_from=openapi"


def test_a_missing_scope_names_the_scopes_and_where_to_grant_them() -> None:
    outcome = classify(
        400,
        {},
        answer(
            99991672,
            f"Access denied. …，点击链接申请并开通任一权限即可：{GRANT}&token_type=tenant",
            permission_violations=[
                {"type": "action_scope_required", "subject": "im:message"},
                {"type": "action_scope_required", "subject": "im:message:send_as_bot"},
                {"type": "action_scope_required", "subject": "im:message"},
            ],
            helps=[{"url": GRANT, "description": "Learn more"}],
        ),
    )
    assert isinstance(outcome, MissingScope)
    assert outcome.scopes == ("im:message", "im:message:send_as_bot")
    assert outcome.grant_url == f"{GRANT}&token_type=tenant"


def test_a_missing_scope_is_read_out_of_the_text_alone() -> None:
    scopes = [f"im:chat.scope_{number}:readonly" for number in range(40)]
    listed = ", ".join(scopes)
    text = f"Access denied. One of the following scopes is required: [{listed}].：{GRANT}"
    assert len(text) > MESSAGE_CHARS_MAX
    outcome = classify(400, {}, answer(99991672, text))
    assert isinstance(outcome, MissingScope)
    assert outcome.scopes == tuple(scopes)
    assert outcome.grant_url == GRANT
    assert len(outcome.message) == MESSAGE_CHARS_MAX


def test_a_missing_scope_is_read_out_of_the_fields_alone() -> None:
    outcome = classify(
        400,
        {},
        answer(
            99991672,
            "Access denied.",
            permission_violations=["rubbish", {"subject": 7}, {"subject": "cardkit:card:write"}],
            helps=[{"description": "no url"}, {"url": GRANT}],
        ),
    )
    assert isinstance(outcome, MissingScope)
    assert outcome.scopes == ("cardkit:card:write",)
    assert outcome.grant_url == GRANT


def test_a_missing_scope_may_name_nothing_of_use() -> None:
    outcome = classify(400, {}, answer(99991672, "Access denied."))
    assert isinstance(outcome, MissingScope)
    assert (outcome.scopes, outcome.grant_url) == ((), None)


@pytest.mark.parametrize(
    ("headers", "error", "log_id"),
    [
        ({"X-Tt-Logid": "h1"}, {"log_id": "e1"}, "e1"),
        ({"X-Tt-Logid": "h1"}, {"troubleshooter": "…"}, "h1"),
        ({"X-Tt-Logid": "h1"}, {}, "h1"),
        ({}, {"log_id": 5}, None),
        ({}, {}, None),
    ],
)
def test_the_log_id_support_asks_for_is_kept(
    headers: dict[str, str], error: dict[str, Any], log_id: str | None
) -> None:
    outcome = classify(400, httpx.Headers(headers), answer(230002, **error))
    assert isinstance(outcome, Rejected)
    assert outcome.log_id == log_id


JSON_VALUES = json_values()


@given(
    status=st.integers(100, 599),
    code=st.sampled_from([code for codes in MEANINGS.values() for code in codes]),
    body=st.fixed_dictionaries({}, optional={"msg": JSON_VALUES, "error": JSON_VALUES}),
    error=st.fixed_dictionaries(
        {},
        optional={
            "log_id": JSON_VALUES,
            "permission_violations": JSON_VALUES,
            "helps": JSON_VALUES,
        },
    ),
)
def test_no_answer_of_any_shape_is_too_strange_to_classify(
    status: int, code: int, body: dict[str, Any], error: dict[str, Any]
) -> None:
    for strange in ({**body, "code": code}, {"error": error, "code": code}, body):
        assert isinstance(classify(status, {}, strange), Rejected | NoAnswer)


@pytest.mark.parametrize(
    ("body", "missing"), [(None, "a JSON object"), ({}, "a code"), ({"code": True}, "a code")]
)
def test_an_answer_without_a_code_is_none(body: dict[str, Any] | None, missing: str) -> None:
    assert classify(502, {}, body) == NoAnswer(reason=f"HTTP 502 without {missing}")


@pytest.mark.parametrize(
    ("outcome", "after_s"),
    [
        (RateLimited(code=1, message="", retry_after_s=7.0), 7.0),
        (Busy(code=1, message=""), 0.5),
        (TokenRefused(code=1, message=""), 0.5),
        (NoAnswer(reason="cut"), 0.5),
        (Gone(code=1, message=""), None),
        (Accepted(), None),
    ],
)
def test_a_call_is_made_again_only_where_that_may_help(
    outcome: Outcome, after_s: float | None
) -> None:
    assert again_after_s(outcome, 0.5) == after_s
