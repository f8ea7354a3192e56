"""Everything the daemon says to people, in both languages, in one place."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

Language = Literal["en", "zh"]


class Text(Struct, frozen=True):
    """One piece of text for people; both forms, since a reader's language may differ."""

    en: str
    zh: str

    def speak(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en

    def format(self, **values: object) -> Text:
        return Text(self.en.format(**values), self.zh.format(**values))

    def plus(self, tail: str) -> Text:
        """Append what is the same in both languages."""
        return Text(self.en + tail, self.zh + tail)


# ── in the chat ─────────────────────────────────────────────────────────────

STOPPED_TASK: Final = Text("Stopped current task.", "已停止当前任务。")
NOTHING_RUNNING: Final = Text("Nothing is running.", "当前没有正在执行的任务。")
NO_SESSION: Final = Text(
    "No session is connected. Your message is kept and will be delivered.",
    "当前没有已连接的会话，消息已保留，连接后会送达。",
)
GRANT_NEEDED: Final = Text(
    "This bot lacks a permission to show live cards. An admin can grant it here: {url}",
    "机器人缺少显示实时卡片所需的权限，管理员可在此开通：{url}",
)
PAIRING_DIRECT: Final = Text(
    "I don't know you yet. Your pairing code is {code}. Whoever runs this bot can let you in"
    " within the hour: larkd pair approve {code}",
    "我还不认识你，你的配对码是 {code}。机器人的管理员可在一小时内执行：larkd pair approve {code}",
)
PAIRING_GROUP: Final = Text(
    "This group is not paired with me yet. Its pairing code is {code}. Whoever runs this bot can"
    " let it in within the hour: larkd pair approve {code}",
    "此群还没有与我配对，配对码是 {code}。机器人的管理员可在一小时内执行："
    "larkd pair approve {code}",
)
PAIRED_DIRECT: Final = Text(
    "You are paired. Send a message to begin.", "配对成功，发一条消息就可以开始了。"
)
PAIRED_GROUP: Final = Text(
    "This group is paired. Mention me to begin.", "本群配对成功，@我 就可以开始了。"
)
PAIR_APPROVED: Final = Text("Paired {subject}.", "已配对 {subject}。")
PAIR_UNKNOWN: Final = Text(
    "No pairing code {code} is waiting. Codes are valid for an hour.",
    "没有等待批准的配对码 {code}，配对码一小时内有效。",
)
PAIR_NOT_HERE: Final = Text(
    "Only an admin can approve a pairing, in a direct chat with me.",
    "只有管理员能批准配对，请在与我的单聊中发送。",
)
PAIR_USAGE: Final = Text("Usage: /pair <code>", "用法：/pair <配对码>")
APPROVAL_ASKS: Final = Text("🔐 **{alias}** asks: {title}", "🔐 **{alias}** 请求授权：{title}")
APPROVAL_SUMMARY: Final = Text("Permission needed", "需要授权")
APPROVAL_WHO: Final = Text(
    "Who started this task, or an admin, decides.", "由任务发起人或管理员决定。"
)
APPROVAL_ALLOWED: Final = Text("✅ {label}", "✅ {label}")
APPROVAL_REJECTED: Final = Text("⛔ {label}", "⛔ {label}")
APPROVAL_ELSEWHERE: Final = Text("Decided elsewhere.", "已在别处处理。")
APPROVAL_STOPPED: Final = Text("No longer needed.", "已不再需要。")
APPROVAL_EXPIRED: Final = Text("Expired: nobody decided in time.", "已过期，未及时处理。")
APPROVAL_NOT_SHOWN: Final = Text("Could not be shown.", "未能显示。")
TOAST_ALLOWED: Final = Text("Allowed", "已允许")
TOAST_REJECTED: Final = Text("Rejected", "已拒绝")
TOAST_NOT_YOURS: Final = Text(
    "Only who started this task, or an admin, can decide.", "只有任务发起人或管理员可以决定。"
)
TOAST_TOO_LATE: Final = Text("This request is no longer open.", "此请求已失效。")
TOAST_STOPPED: Final = Text("Stopped", "已停止")
TOAST_NOT_ALLOWED: Final = Text(
    "Only who started this task, or an admin, can stop it.", "只有任务发起人或管理员可以停止它。"
)
TOAST_UNKNOWN: Final = Text("This button no longer does anything.", "此按钮已失效。")

# ── on a card ───────────────────────────────────────────────────────────────

PROCESSING: Final = Text("Processing...", "处理中...")
FOOTER_RUNNING: Final = Text("⏳ Processing... {time}", "⏳ 处理中... {time}")
FOOTER_COMPLETE: Final = Text("Done · {time}", "已完成 · {time}")
FOOTER_ABORTED: Final = Text("🛑 Stopped · {time}", "🛑 已停止 · {time}")
FOOTER_ERROR: Final = Text("❌ Error · {time}", "❌ 出错 · {time}")
FOOTER_SEALED: Final = Text("Continued below", "下接")
SUMMARY_DONE: Final = Text("Done", "已完成")
SUMMARY_STOPPED: Final = Text("Stopped", "已停止")
SUMMARY_ERROR: Final = Text("Error", "出错")
PLAN: Final = Text("📋 Plan ({done}/{total})", "📋 任务清单 ({done}/{total})")
PLAN_MORE: Final = Text("… {count} more", "… 还有 {count} 项")
TOOLS: Final = Text("🔧 Tool calls ({count})", "🔧 工具调用 ({count})")
TOOLS_EARLIER: Final = Text("… {count} earlier", "… 更早的 {count} 个")
REASONING: Final = Text("🧠 Reasoning", "🧠 思考过程")
STOP_BUTTON: Final = Text("Stop", "停止")
INTERRUPTED: Final = Text("Interrupted by a restart.", "因重启而中断。")
SESSION_DISCONNECTED: Final = "session disconnected"


def duration(seconds: float) -> str:
    """Format a duration: ``8.2s`` under a minute, ``2m 5s`` under an hour, else ``1h 4m``.

    What rounds to a minute is one: 59.96 is ``1m 0s``.
    """
    tenths = max(0, round(seconds * 10))
    if tenths < 600:
        return f"{tenths // 10}.{tenths % 10}s"
    whole = round(seconds)
    if whole < 3_600:
        return f"{whole // 60}m {whole % 60}s"
    return f"{whole // 3_600}h {whole % 3_600 // 60}m"


def amount(count: int) -> str:
    """Format a number of tokens: ``800``, ``1.2k``, ``12k``, ``200k``, ``1.5M``."""
    if count < 1_000:
        return str(count)
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if count >= unit:
            tenths = count * 10 // unit
            whole = tenths % 10 == 0 or tenths >= 100
            return f"{tenths // 10}{letter}" if whole else f"{tenths // 10}.{tenths % 10}{letter}"
    raise AssertionError(count)
