"""The chat page in a real browser: nothing is lost under the pointer, and it is for everybody."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from tests.kit.axe import axe_source, serious
from tests.kit.browser import Browser, open_browser
from tests.kit.sandbox_process import CARDS, SandboxProcess, open_sandbox_process

CLIENTS = Path(__file__).parent / "clients"


def png() -> bytes:
    """A picture of 2 by 2 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    pixels = zlib.compress((b"\0" + b"\x33\x70\xff" * 2) * 2)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


PNG = png()
PHONE = (390, 844)


def streaming(*elements: dict[str, Any]) -> dict[str, Any]:
    config = {"streaming_mode": True, "summary": {"content": "working"}}
    return {"schema": "2.0", "config": config, "body": {"elements": list(elements)}}


def text_element(element_id: str = "answer") -> dict[str, Any]:
    return {"tag": "markdown", "element_id": element_id, "content": ""}


PLAN = {
    "tag": "collapsible_panel",
    "element_id": "plan",
    "expanded": True,
    "header": {"title": {"tag": "plain_text", "content": "Plan"}},
    "elements": [{"tag": "markdown", "element_id": "steps", "content": "one"}],
}
STOP = {
    "tag": "button",
    "element_id": "stop",
    "text": {"tag": "plain_text", "content": "Stop"},
    "behaviors": [{"type": "callback", "value": {"action": "stop"}}],
}
FORM = {
    "tag": "form",
    "name": "question",
    "elements": [
        {
            "tag": "input",
            "name": "why",
            "required": True,
            "label": {"tag": "plain_text", "content": "Why?"},
        },
        {
            "tag": "select_static",
            "name": "size",
            "placeholder": {"tag": "plain_text", "content": "Size"},
            "options": [
                {"text": {"tag": "plain_text", "content": "Small"}, "value": "s"},
                {"text": {"tag": "plain_text", "content": "Large"}, "value": "l"},
            ],
        },
        {
            "tag": "multi_select_static",
            "name": "where",
            "placeholder": {"tag": "plain_text", "content": "Where"},
            "options": [
                {"text": {"tag": "plain_text", "content": "Here"}, "value": "here"},
                {"text": {"tag": "plain_text", "content": "There"}, "value": "there"},
            ],
        },
        {
            "tag": "button",
            "name": "go",
            "type": "primary",
            "form_action_type": "submit",
            "text": {"tag": "plain_text", "content": "Answer"},
        },
    ],
}


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[SandboxProcess]:
    with open_sandbox_process(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def wide_browser() -> Iterator[Browser]:
    """One for all tests: each test's page is of an origin of its own."""
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def narrow_browser() -> Iterator[Browser]:
    with open_browser(*PHONE, phone=True) as browser:
        yield browser


@pytest.fixture
def page(sandbox: SandboxProcess, wide_browser: Browser) -> Browser:
    wide_browser.get(sandbox.page_url)
    one(wide_browser, '#chats [aria-current="true"]')
    return wide_browser


@pytest.fixture
def phone(sandbox: SandboxProcess, narrow_browser: Browser) -> Browser:
    narrow_browser.get(sandbox.page_url)
    wait(narrow_browser, lambda: text(narrow_browser, "#chat-name") == "Alice")
    return narrow_browser


def wait(page: Browser, until: Callable[[], Any], within_s: float = 60) -> Any:
    """Wait until it holds; what was drawn anew between two looks at it is looked at again."""
    moving = WebDriverWait(
        page, within_s, poll_frequency=0.05, ignored_exceptions=[StaleElementReferenceException]
    )
    try:
        return moving.until(lambda _: until())
    except TimeoutException as late:
        shown = page.execute_script("return document.body?.innerText ?? 'no body'")
        raise AssertionError(
            f"never so in {within_s:g} s: {page.current_url} shows {shown[:2_000]!r};"
            f" the browser logged {page.get_log('browser')}"
        ) from late


def one(page: Browser, selector: str) -> WebElement:
    """Wait for an element that matches."""
    found: WebElement = wait(page, lambda: page.find_elements(By.CSS_SELECTOR, selector))[0]
    return found


def text(page: Browser, selector: str) -> str:
    found = page.find_elements(By.CSS_SELECTOR, selector)
    return found[-1].text if found else ""


def wait_text(page: Browser, selector: str, needle: str) -> None:
    wait(page, lambda: needle in text(page, selector))


def focused(page: Browser) -> WebElement:
    return page.switch_to.active_element


# ── nothing is rebuilt under the pointer ────────────────────────────────────


HELD_LONGER = """
const after = window.setTimeout;
window.setTimeout = (act, ms, ...more) => after(act, ms === 3000 ? 120000 : ms, ...more);
"""
"""A press may last three seconds before the page paints again; here as long as it takes."""


def test_a_click_that_an_update_falls_into_is_a_click(
    sandbox: SandboxProcess, page: Browser
) -> None:
    page.execute_script(HELD_LONGER)
    chat_id = sandbox.chat()["chat_id"]
    card_id = sandbox.send_card(chat_id, streaming(PLAN, text_element(), STOP))
    stop, team = one(page, '[data-element-id="stop"]'), one(page, "#chats li:nth-child(2) button")
    sequence = 0
    for target in (stop, team):
        ActionChains(page).move_to_element(target).click_and_hold().perform()
        for _ in range(3):
            sequence += 1
            sandbox.stream(card_id, "answer", "word " * sequence, sequence)
            sandbox.post("send", chat_id=chat_id, text=f"beside {sequence}")
        wait_text(page, "#chats li:first-child .preview", f"beside {sequence}")
        ActionChains(page).release().perform()
    wait_text(page, "#chat-name", "Team")

    def presses() -> list[Any]:
        kind = "card.action.trigger"
        return [one for one in sandbox.get("events") if one["event_type"] == kind]

    assert len(wait(page, presses)) == 1, "the press on Stop arrived"


def test_what_is_pointed_at_stays_where_it_is(sandbox: SandboxProcess, page: Browser) -> None:
    card = streaming(PLAN, text_element(), STOP)
    card["config"]["streaming_config"] = {"print_step": {"default": 20}}  # typed out in 2 s
    card_id = sandbox.send_card(sandbox.chat()["chat_id"], card)
    lines = [f"line {number}\n\n" for number in range(60)]
    sandbox.stream(card_id, "answer", "".join(lines[:8]), 1)
    wait_text(page, '[data-element-id="answer"]', "line 7")
    sequence, at_the_end = 1, "const at = document.getElementById('messages');"
    at_the_end += "return at.scrollHeight - at.scrollTop - at.clientHeight < 2"
    for selector, most in (
        ('[data-element-id="plan"] summary', 30),
        ('[data-element-id="stop"]', 60),
    ):
        target = one(page, selector)
        ActionChains(page).move_to_element(target).perform()
        where = "return Math.round(arguments[0].getBoundingClientRect().top)"
        before = page.execute_script(where, target)
        sequence += 1
        sandbox.stream(card_id, "answer", "".join(lines[:most]), sequence)
        wait_text(page, '[data-element-id="answer"]', f"line {most - 1}")
        assert page.execute_script(where, target) == pytest.approx(before, abs=1), selector
        ActionChains(page).move_to_element(one(page, "#composer")).perform()
        wait(page, lambda: page.execute_script(at_the_end))


def test_focus_selection_and_what_was_opened_stay(sandbox: SandboxProcess, page: Browser) -> None:
    chat_id = sandbox.chat()["chat_id"]
    card_id = sandbox.send_card(chat_id, streaming(PLAN, text_element(), FORM))
    answer, field = one(page, '[data-element-id="answer"]'), one(page, ".form input")
    field.send_keys("beca")
    one(page, '[data-element-id="plan"] summary').click()
    field.send_keys("u")
    sandbox.stream(card_id, "answer", "Some words that stay selected.", 1)
    wait_text(page, '[data-element-id="answer"]', "stay selected")
    page.execute_script("getSelection().selectAllChildren(arguments[0].firstChild)", answer)
    sandbox.stream(card_id, "answer", "Some words that stay selected.\n\nMore.", 2)
    wait_text(page, '[data-element-id="answer"]', "More.")
    assert page.execute_script("return getSelection().toString()").startswith("Some words")
    field.click()
    field.send_keys("se")
    assert focused(page) == field
    assert field.get_property("value") == "because"
    panel = one(page, '[data-element-id="plan"]')
    assert panel.get_property("open") is False, "what the reader closed stays closed"


def test_a_panel_nobody_touched_follows_the_card(sandbox: SandboxProcess, page: Browser) -> None:
    card_id = sandbox.send_card(sandbox.chat()["chat_id"], streaming(PLAN, text_element()))
    panel = one(page, '[data-element-id="plan"]')
    assert panel.get_property("open") is True
    closed = {"type": "card_json", "data": json.dumps(streaming(PLAN | {"expanded": False}))}
    sandbox.call("PUT", f"{CARDS}/{card_id}", card=closed, sequence=1)
    wait(page, lambda: panel.get_property("open") is False)


def test_a_plan_that_is_done_makes_space_when_the_card_ends(
    sandbox: SandboxProcess, page: Browser
) -> None:
    done = PLAN | {"header": {"title": {"tag": "plain_text", "content": "Plan (2/2)"}}}
    half = done | {"header": {"title": {"tag": "plain_text", "content": "Plan (1/2)"}}}
    for plan, is_open in ((done, False), (half, True)):
        card_id = sandbox.send_card(sandbox.chat()["chat_id"], streaming(plan))
        panel = one(page, f'[data-card-id="{card_id}"] .panel')
        assert panel.get_property("open") is True, "it runs"
        off = json.dumps({"config": {"streaming_mode": False}})
        sandbox.call("PATCH", f"{CARDS}/{card_id}/settings", settings=off, sequence=1)
        one(page, f'[data-card-id="{card_id}"][data-state="final"]')
        assert panel.get_property("open") is is_open


def test_only_what_came_by_content_is_typed(sandbox: SandboxProcess, page: Browser) -> None:
    card = streaming(text_element("typed"), text_element("painted"))
    # Typing all of it would take minutes: it is not over before it is looked at.
    card["config"]["streaming_config"] = {"print_frequency_ms": {"default": 20_000}}
    card_id = sandbox.send_card(sandbox.chat()["chat_id"], card)
    one(page, '[data-element-id="typed"]')
    sandbox.stream(card_id, "typed", "abcdefghij", 1)
    change = json.dumps({"content": "all at once"})
    path = f"{CARDS}/{card_id}/elements/painted"
    sandbox.call("PATCH", path, partial_element=change, sequence=2)
    wait_text(page, '[data-element-id="painted"]', "all at once")
    assert len(text(page, '[data-element-id="typed"]')) < 10, "still typing"
    off = json.dumps({"config": {"streaming_mode": False}})
    sandbox.call("PATCH", f"{CARDS}/{card_id}/settings", settings=off, sequence=3)
    wait_text(page, '[data-element-id="typed"]', "abcdefghij")


SHRUNK = """
const card = arguments[0];
let shown = 0;
window.shrunk = [];
new MutationObserver(() => {
  const now = card.textContent.length;
  if (now < shown) window.shrunk.push([shown, now]);
  shown = now;
}).observe(card, {subtree: true, childList: true, characterData: true});
"""


def test_what_stands_there_is_never_typed_again(sandbox: SandboxProcess, page: Browser) -> None:
    card_id = sandbox.send_card(sandbox.chat()["chat_id"], streaming(text_element()))
    page.execute_script(SHRUNK, one(page, f'[data-card-id="{card_id}"]'))
    sandbox.stream(card_id, "answer", "typed", 1)
    wait_text(page, '[data-element-id="answer"]', "typed")
    change = json.dumps({"content": "typed, painted"})
    path = f"{CARDS}/{card_id}/elements/answer"
    sandbox.call("PATCH", path, partial_element=change, sequence=2)
    wait_text(page, '[data-element-id="answer"]', "painted")
    sandbox.stream(card_id, "answer", "typed, painted, typed", 3)
    wait_text(page, '[data-element-id="answer"]', "painted, typed")
    assert page.execute_script("return window.shrunk") == []


# ── the page and its sandbox ────────────────────────────────────────────────


NOTICES = """
window.notices = "";
const toasts = document.getElementById("toasts");
const keep = () => { window.notices += toasts.innerText; };
new MutationObserver(keep).observe(toasts, {childList: true});
"""
"""A notice goes after a few seconds; this keeps them."""


def wait_notice(page: Browser, needle: str) -> None:
    wait(page, lambda: needle in page.execute_script("return window.notices"))


def test_it_names_a_dead_sandbox_and_comes_back_with_it(
    sandbox: SandboxProcess, page: Browser
) -> None:
    composer = one(page, "#composer")
    page.execute_script(NOTICES)
    sandbox.stop()
    wait_text(page, "#connection-text", "not reachable")
    one(page, "#language").click()
    wait_text(page, "#connection-text", "沙盒无法访问")
    composer.send_keys("kept", Keys.ENTER)
    wait_notice(page, "沙盒无法访问")
    assert composer.get_property("value") == "kept"
    assert page.find_element(By.ID, "banner").is_displayed()
    sandbox.start()
    wait_text(page, "#connection-text", "机器人未连接")
    wait_notice(page, "沙盒已重新开始")
    assert not page.find_element(By.ID, "banner").is_displayed()
    composer.send_keys(Keys.ENTER)
    wait_text(page, ".mine .bubble", "kept")


def test_a_page_without_the_token_shows_what_to_do(sandbox: SandboxProcess) -> None:
    with open_browser() as stranger:
        stranger.get(sandbox.page_url.partition("?")[0])
        wait_text(stranger, "#banner", "Open the address that larkd printed")


def test_enter_in_the_dialog_makes_the_chat(sandbox: SandboxProcess, page: Browser) -> None:
    one(page, "#new-chat").click()
    one(page, "#new-name").send_keys("Carol", Keys.ENTER)
    wait_text(page, "#chat-name", "Carol")
    assert sandbox.chat("Carol")["type"] == "p2p"


def test_what_ends_elsewhere_is_marked_and_in_the_title(
    sandbox: SandboxProcess, page: Browser
) -> None:
    team = sandbox.chat("Team")
    card_id = sandbox.send_card(team["chat_id"], streaming(text_element()))
    wait_text(page, "#chats li:nth-child(2) .unread", "1")
    off = json.dumps({"config": {"streaming_mode": False, "summary": {"content": "it is done"}}})
    sandbox.call("PATCH", f"{CARDS}/{card_id}/settings", settings=off, sequence=1)
    wait_text(page, "#chats li:nth-child(2) .unread", "2")
    wait_text(page, "#chats li:nth-child(2) .preview", "it is done")
    assert page.title.startswith("(2) ")
    one(page, "#chats li:nth-child(2) button").click()
    wait(page, lambda: not page.title.startswith("("))


def test_times_have_24_hours_in_both_languages(sandbox: SandboxProcess, page: Browser) -> None:
    sandbox.post("send", chat_id=sandbox.chat()["chat_id"], text="now")
    for _ in range(2):
        assert re.search(r" · \d\d:\d\d$", one(page, ".who").text)
        one(page, "#language").click()


# ── pictures and files ──────────────────────────────────────────────────────


def shows_pictures(page: Browser, count: int) -> bool:
    loaded = "[...document.querySelectorAll('.mine img')].filter((one) => one.naturalWidth > 0)"
    return bool(page.execute_script(f"return {loaded}.length === {count}"))


GIVE = """
const bytes = Uint8Array.from(arguments[1]), data = new DataTransfer();
data.items.add(new File([bytes], "pasted.png", {type: "image/png"}));
const event = arguments[0] === "paste"
  ? new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true})
  : new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true});
document.getElementById("composer").dispatchEvent(event);
"""


def test_pictures_are_chosen_pasted_and_dropped(
    sandbox: SandboxProcess, page: Browser, tmp_path: Path
) -> None:
    picture, notes = tmp_path / "picture.png", tmp_path / "笔记.txt"
    picture.write_bytes(PNG)
    notes.write_text("words")
    page.find_element(By.ID, "files").send_keys(f"{picture}\n{notes}")
    one(page, "#attached li:nth-child(2)")
    one(page, "#composer").send_keys("look", Keys.ENTER)
    wait(page, partial(shows_pictures, page, 1))
    wait_text(page, ".mine .file", "笔记.txt")
    wait_text(page, ".mine .bubble", "look")
    for number, how in enumerate(("paste", "drop"), 2):
        wait(page, lambda: not page.find_elements(By.CSS_SELECTOR, "#attached li"))
        page.execute_script(GIVE, how, list(PNG))
        one(page, "#attached li")
        one(page, "#send").click()
        wait(page, partial(shows_pictures, page, number))
    sent = sandbox.get("state")["messages"]
    assert [one["msg_type"] for one in sent] == ["image", "file", "text", "image", "image"]
    assert json.loads(sent[1]["content"])["file_name"] == "笔记.txt"


SLOW = """
const fetched = window.fetch, answers = new Promise((go) => { window.answer = go; });
window.fetch = async (path, ...more) => {
  const answer = await fetched(path, ...more);
  if (path.endsWith("/send")) await answers;
  return answer;
};
"""


def test_what_is_sent_while_the_last_is_on_its_way_goes_next(
    sandbox: SandboxProcess, page: Browser
) -> None:
    page.execute_script(SLOW)
    composer = one(page, "#composer")
    composer.send_keys("first", Keys.ENTER)
    wait_text(page, ".mine .bubble", "first")
    composer.send_keys("second", Keys.ENTER)
    assert composer.get_property("value") == "second"
    page.execute_script("window.answer()")
    wait_text(page, ".mine .bubble", "second")
    wait(page, lambda: composer.get_property("value") == "")
    texts = [json.loads(one["content"])["text"] for one in sandbox.get("state")["messages"]]
    assert texts == ["first", "second"]


def test_an_attached_file_can_be_taken_back(page: Browser, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("words")
    page.find_element(By.ID, "files").send_keys(str(notes))
    one(page, "#attached button").click()
    wait(page, lambda: not page.find_element(By.ID, "attached").is_displayed())


# ── forms, topics, apps ─────────────────────────────────────────────────────


def test_a_form_is_filled_in_and_submitted(sandbox: SandboxProcess, page: Browser) -> None:
    card = {"schema": "2.0", "body": {"elements": [FORM]}}
    sandbox.send_card(sandbox.chat()["chat_id"], card)
    submit = one(page, ".form button")
    submit.click()
    assert not sandbox.get("events"), "what is required is asked for first"
    one(page, ".form input").send_keys("because")
    Select(one(page, ".form select")).select_by_value("l")
    for box in page.find_elements(By.CSS_SELECTOR, ".form [type=checkbox]"):
        box.click()
    submit.click()
    (pushed,) = wait(page, lambda: sandbox.get("events"))
    event = sandbox.get(f"events/{pushed['event_id']}")["envelope"]["event"]
    assert event["action"]["name"] == "go"
    assert event["action"]["form_value"] == {
        "why": "because",
        "size": "l",
        "where": ["here", "there"],
    }


def test_an_address_in_a_text_is_a_link_and_a_card_has_a_preview(
    sandbox: SandboxProcess, page: Browser
) -> None:
    chat_id = sandbox.chat()["chat_id"]
    sandbox.post("send", chat_id=chat_id, text="grant it: https://example.com/auth?q=a:b&c=d. Now")
    link = one(page, ".mine .bubble a")
    assert link.get_attribute("href") == "https://example.com/auth?q=a:b&c=d"
    assert text(page, ".mine .bubble") == "grant it: https://example.com/auth?q=a:b&c=d. Now"
    i18n = {"en_us": "Where to?", "zh_cn": "去哪里？"}
    words = {"tag": "markdown", "content": "Where to?", "i18n_content": i18n}
    columns = {"tag": "column_set", "columns": [{"tag": "column", "elements": [words]}]}
    card = {"schema": "2.0", "body": {"elements": [columns]}}
    sandbox.call(
        "POST",
        "/open-apis/im/v1/messages?receive_id_type=chat_id",
        receive_id=chat_id,
        msg_type="interactive",
        content=json.dumps(card),
    )
    wait_text(page, "#chats li:first-child .preview", "Where to?")
    one(page, "#language").click()
    wait_text(page, "#chats li:first-child .preview", "去哪里？")


def test_a_topic_opens_below_its_message(sandbox: SandboxProcess, page: Browser) -> None:
    sandbox.post("send", chat_id=sandbox.chat()["chat_id"], text="first")
    bubble = one(page, ".mine .bubble")
    ActionChains(page).move_to_element(bubble).click(bubble).perform()
    one(page, '.actions [data-key="topic"]').click()
    one(page, "#composer").send_keys("second", Keys.ENTER)
    wait_text(page, ".replies .bubble", "second")
    first, second = sandbox.get("state")["messages"]
    assert first["thread_id"] == second["thread_id"]
    assert second["root_id"] == second["parent_id"] == first["message_id"]


def test_a_scanned_link_is_confirmed_on_the_page(sandbox: SandboxProcess, page: Browser) -> None:
    form = {"archetype": "PersonalAgent", "auth_method": "client_secret", "action": "begin"}
    url = f"{sandbox.base_url}/oauth/v1/app/registration"
    begun = sandbox.http.post(url, data=form).json()
    page.get(f"{begun['verification_uri_complete']}&name=Robo")
    wait_text(page, "#scan-name", "Robo")
    assert text(page, "#scan-code") == begun["user_code"]
    one(page, "#scan-approve").click()
    wait_text(page, "#chats", "Robo")
    polled = {"action": "poll", "device_code": begun["device_code"]}
    assert sandbox.http.post(url, data=polled).json()["client_secret"]


# ── the phone ───────────────────────────────────────────────────────────────

SMALL = """
return [...document.querySelectorAll("button, summary, select, input, textarea")]
  .filter((one) => one.checkVisibility() && !["checkbox", "file"].includes(one.type))
  .filter((one) => Math.min(one.offsetHeight, one.tagName === "BUTTON" ? one.offsetWidth : 99) < 44)
  .map((one) => [one.id || one.className || one.textContent, one.offsetWidth, one.offsetHeight])
"""


def test_a_phone_can_be_used_with_a_thumb(sandbox: SandboxProcess, phone: Browser) -> None:
    card = streaming(PLAN, text_element(), STOP, FORM)
    sandbox.send_card(sandbox.chat()["chat_id"], card)
    one(phone, '[data-element-id="stop"]')
    assert phone.execute_script(SMALL) == []
    composer = one(phone, "#composer")
    size = phone.execute_script("return getComputedStyle(arguments[0]).fontSize", composer)
    assert float(size.removesuffix("px")) >= 16, "smaller makes iOS zoom into the page"
    assert composer.get_property("scrollWidth") <= composer.get_property("clientWidth")
    assert composer.get_attribute("placeholder") == "Message"
    wide = "return document.documentElement.scrollWidth > innerWidth"
    assert not phone.execute_script(wide), "nothing sticks out"
    one(phone, "#back").click()
    wait(phone, lambda: phone.find_element(By.ID, "chats").is_displayed())
    assert phone.execute_script(SMALL) == []
    one(phone, "#chats li:nth-child(2) button").click()
    wait(phone, phone.find_element(By.ID, "sender").is_displayed)
    assert phone.execute_script(SMALL) == [], "nor where it is chosen as whom to write"


def test_one_press_leads_to_the_latest(sandbox: SandboxProcess, phone: Browser) -> None:
    chat_id = sandbox.chat()["chat_id"]
    for number in range(30):
        sandbox.post("send", chat_id=chat_id, text=f"line {number}")
    wait_text(phone, ".message:last-child .bubble", "line 29")
    assert not phone.find_element(By.ID, "latest").is_displayed()
    phone.execute_script("document.getElementById('messages').scrollTo(0, 0)")
    wait(phone, phone.find_element(By.ID, "latest").is_displayed)
    sandbox.post("send", chat_id=chat_id, text="the newest")
    wait_text(phone, ".message:last-child .bubble", "the newest")
    at = "return document.getElementById('messages').scrollTop"
    assert phone.execute_script(at) < 100, "who reads above is not moved"
    one(phone, "#latest").click()
    wait(phone, lambda: not phone.find_element(By.ID, "latest").is_displayed())
    assert phone.execute_script(at) > 100


def test_a_long_conversation_opens_at_its_end_and_goes_back_on_demand(
    sandbox: SandboxProcess, wide_browser: Browser
) -> None:
    chat = sandbox.post("chats", type="group", name="Long")
    for number in range(450):
        sandbox.post("send", chat_id=chat["chat_id"], text=f"line {number}")
    page = wide_browser
    page.get(sandbox.page_url)  # now: a page that is open draws each of them
    one(page, "#chats li:nth-child(3) button").click()
    count = "return document.querySelectorAll('.message').length"
    wait(page, lambda: page.execute_script(count) == 200)
    wait_text(page, ".message:last-child .bubble", "line 449")
    messages = sandbox.get("state")["messages"]
    for seen in (messages[0], messages[-1]):  # once the last one shows it, the first has come
        sandbox.post("react", message_id=seen["message_id"], emoji_type="OK")
    one(page, ".message:last-child .reactions")
    one(page, "#language").click()
    wait_text(page, ".earlier", "更早的消息")
    assert page.execute_script(count) == 200, "what changes up there stays up there"
    one(page, ".earlier").click()
    wait(page, lambda: page.execute_script(count) == 400)
    at = "return document.getElementById('messages').scrollTop"
    assert page.execute_script(at) > 1_000, "what was read stays where it was"
    page.execute_script("document.querySelector('.earlier').click()")
    wait(page, lambda: page.execute_script(count) == 450)
    assert not page.find_elements(By.CSS_SELECTOR, ".earlier")


# ── accessibility ───────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def axe() -> str:
    return axe_source()


def show_what_comes_and_goes(browser: Browser) -> None:
    """Show a message's actions, what it answers, a file, a notice, and the way to the latest."""
    browser.execute_script(
        "const mine = document.querySelector('.message.mine'); mine.classList.add('picked');"
        "mine.querySelector('[data-key=topic]').click();"
        "document.getElementById('latest').hidden = false;"
    )
    browser.execute_script(GIVE, "paste", list(PNG))
    browser.execute_script(
        "const banner = document.getElementById('banner'), toast = document.createElement('div');"
        "[banner.hidden, banner.textContent] = [false, 'The sandbox is not reachable'];"
        "[toast.className, toast.textContent] = ['toast error', 'Not sent'];"
        "document.getElementById('toasts').append(toast);"
    )
    one(browser, "#attached li")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, PHONE[0]])
def test_axe_finds_nothing_serious(
    sandbox: SandboxProcess, axe: str, request: pytest.FixtureRequest, width: int, *, dark: bool
) -> None:
    markdown = text_element() | {
        "content": "# Title\n\n**Bold**, `code` and [a link](https://example.com)\n\n> quoted\n\n"
        "```py\nx = 1\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    }
    footer = {"tag": "markdown", "content": "Done · 1.2s", "text_size": "notation"}
    chat_id = sandbox.chat()["chat_id"]
    sandbox.post("send", chat_id=chat_id, text="hello")
    sandbox.send_card(chat_id, streaming(PLAN, markdown, footer, STOP, FORM))
    browser: Browser = request.getfixturevalue(
        "narrow_browser" if width == PHONE[0] else "wide_browser"
    )
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(sandbox.page_url)
    one(browser, '[data-element-id="stop"]')
    assert serious(browser, axe) == []
    show_what_comes_and_goes(browser)
    assert serious(browser, axe) == []
    one(browser, "#inspect").click()
    one(browser, "#calls li")
    assert serious(browser, axe) == []
    one(browser, "#inspect-close").click()
    if width == PHONE[0]:
        one(browser, "#back").click()
        assert serious(browser, axe) == []
    one(browser, "#new-chat").click()
    assert serious(browser, axe) == []
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
