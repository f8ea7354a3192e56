"""What stands on a card, on its buttons, and in the answer to a press of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from protocol.strings.text import Text

APPROVAL_ASKS: Final = Text("🔐 **{alias}** asks: {title}", "🔐 **{alias}** 请求授权：{title}")
APPROVAL_SUMMARY: Final = Text("Permission needed", "需要授权")
APPROVAL_WHO: Final = Text(
    "Who started this task, or an admin, decides.", "由任务发起人或管理员决定。"
)
APPROVAL_ADMINS: Final = Text("An admin decides.", "由管理员决定。")
APPROVAL_FILE: Final = Text(
    "⚠️ This is not all of it: the whole request is in the file sent before this card.",
    "⚠️ 此处不是全部内容：完整请求见本卡片之前发送的文件。",
)
ALLOW_ONCE: Final = Text("Allow once", "允许一次")
REJECT_ONCE: Final = Text("Reject", "拒绝")
ALLOW_ALWAYS: Final = Text("Always allow", "始终允许")
REJECT_ALWAYS: Final = Text("Always reject", "始终拒绝")
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
QUESTION_SUMMARY: Final = Text("A question for you", "有问题需要您回答")
QUESTION_SUBMIT: Final = Text("Send", "提交")
QUESTION_CHOOSE: Final = Text("Choose one", "请选择一项")
QUESTION_CHOOSE_SOME: Final = Text("Choose any", "可选择多项")
QUESTION_FREE_TEXT: Final = Text("Or write something", "也可以直接填写")
QUESTION_WRITE: Final = Text("Write here", "请填写")
QUESTION_DECLINE: Final = Text("Decline", "拒绝回答")
QUESTION_OPEN: Final = Text("Open", "打开链接")
YES: Final = Text("Yes", "是")
NO: Final = Text("No", "否")
QUESTION_HINTS: Final[Mapping[str, Text]] = {
    "number": Text("A number", "数字"),
    "integer": Text("A whole number", "整数"),
    "email": Text("An e-mail address", "邮箱地址"),
    "uri": Text("An address such as https://example.com", "网址，例如 https://example.com"),
    "date": Text("A date such as 2026-01-31", "日期，例如 2026-01-31"),
    "date-time": Text(
        "A time such as 2026-01-31T09:30:00+08:00", "时间，例如 2026-01-31T09:30:00+08:00"
    ),
}
QUESTION_DECLINED: Final = Text("Declined", "已拒绝回答")
QUESTION_OPENED: Final = Text("Opened", "已打开")
QUESTION_WITHDRAWN: Final = Text("No longer asked.", "已不再询问。")
QUESTION_NEEDED: Final = Text("{name}: an answer is needed.", "{name}：此项必填。")
QUESTION_NUMBER: Final = Text("{name}: a number is needed", "{name}：请填写数字")
QUESTION_INTEGER: Final = Text("{name}: a whole number is needed", "{name}：请填写整数")
QUESTION_CHARACTERS: Final = Text("{name}: number of characters", "{name}：字符数")
QUESTION_OPTIONS: Final = Text("{name}: number of options", "{name}：选项数")
QUESTION_LEAST: Final = Text(", {least} or more", "，不小于 {least}")
QUESTION_MOST: Final = Text(", {most} or less", "，不大于 {most}")
QUESTION_BETWEEN: Final = Text(", from {least} to {most}", "，从 {least} 到 {most}")
QUESTION_FORMATS: Final[Mapping[str, Text]] = {
    "email": Text("{name}: an e-mail address is needed.", "{name}：请填写邮箱地址。"),
    "uri": Text("{name}: a web address is needed.", "{name}：请填写网址。"),
    "date": Text(
        "{name}: a date such as 2026-01-31 is needed.", "{name}：请填写日期，例如 2026-01-31。"
    ),
    "date-time": Text(
        "{name}: a time such as 2026-01-31T09:30:00+08:00 is needed.",
        "{name}：请填写时间，例如 2026-01-31T09:30:00+08:00。",
    ),
}
QUESTION_ANSWERED: Final = Text("Answered", "已回答")
QUESTION_EMPTY: Final = Text("Choose or write something first.", "请先选择或填写内容。")
QUESTION_CLOSED: Final = Text("This question is no longer open.", "此问题已关闭。")
QUESTION_NOT_FOR_YOU: Final = Text("You may not answer this.", "您无权回答此问题。")
QUESTION_NOT_STORED: Final = Text(
    "Your answer could not be kept; try again.", "暂时无法保存您的回答，请重试。"
)
TOAST_STOPPED: Final = Text("Stopped", "已停止")
TOAST_UNKNOWN: Final = Text("This button no longer does anything.", "此按钮已失效。")
PROCESSING: Final = Text("Processing...", "处理中...")
FOOTER_RUNNING: Final = Text("⏳ Processing... {time}", "⏳ 处理中... {time}")
FOOTER_COMPLETE: Final = Text("Done · {time}", "已完成 · {time}")
FOOTER_ABORTED: Final = Text("🛑 Stopped · {time}", "🛑 已停止 · {time}")
FOOTER_ERROR: Final = Text("❌ Error · {time}", "❌ 出错 · {time}")
FOOTER_STALLED: Final = Text(" · nothing new for {minutes} min", " · {minutes} 分钟没有新内容")
STEP_REJECTED: Final = Text("rejected", "已拒绝")
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
STALLED: Final = Text(
    "{alias} has shown nothing for {minutes} min. Send stop to end it.",
    "{alias} 已 {minutes} 分钟没有新内容，可发送 stop 停止。",
)
NOT_READ_YET: Final = Text("{alias} has not read this yet.", "{alias} 还没有读取这条消息。")
MAY_REPEAT: Final = Text(
    "(The card could not be updated. Some of this may be on it already.)",
    "（卡片无法更新，以下内容可能与卡片上的重复。）",
)
ANSWER_CUT: Final = Text(
    "The answer passed {count} characters; the rest is left out.",
    "回答超过 {count} 个字符，其余部分已省略。",
)
INTERRUPTED: Final = Text("Interrupted by a restart.", "因重启而中断。")
SESSION_DISCONNECTED: Final = Text("session disconnected", "会话已断开")
