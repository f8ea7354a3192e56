"""Everything the daemon writes to people, in both languages, in one place."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from protocol.quoted import quoted

Language = Literal["en", "zh"]


class Text(Struct, frozen=True):
    """One piece of text for people; both forms, since a reader's language may differ."""

    en: str
    zh: str

    def speak(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en

    def format(self, **values: object) -> Text:
        """Fill in *values*.

        A Text goes into each language as it is there; anything else is quoted, since it is
        what others wrote (``protocol.quoted``).
        """
        en = {key: it.en if isinstance(it, Text) else _quoted(it) for key, it in values.items()}
        zh = {key: it.zh if isinstance(it, Text) else _quoted(it) for key, it in values.items()}
        return Text(self.en.format(**en), self.zh.format(**zh))

    def plus(self, tail: str) -> Text:
        """Append what is the same in both languages."""
        return Text(self.en + tail, self.zh + tail)

    def joined(self, tail: Text) -> Text:
        return Text(self.en + tail.en, self.zh + tail.zh)


def _quoted(value: object) -> object:
    return quoted(value) if isinstance(value, str) else value


# ── in the chat ─────────────────────────────────────────────────────────────

STOPPED_TASK: Final = Text("Stopped current task.", "已停止当前任务。")
NOTHING_RUNNING: Final = Text("Nothing is running.", "当前没有正在执行的任务。")
NOT_ALLOWED_TO_STOP: Final = Text(
    "Only who started it, or an admin, can stop this.", "只有发起者或管理员可以停止。"
)
NO_SESSION: Final = Text(
    "No session is connected. Your message is kept and will be delivered.",
    "当前没有已连接的会话，消息已保留，连接后会送达。",
)
NO_SESSION_START_ONE: Final = Text(
    "\nAn admin can start one: /new {agent}", "\n管理员可以启动一个：/new {agent}"
)
NOT_FOR_STRANGERS: Final = Text(
    "Commands are for people who are paired with this bot.", "只有已配对的人可以使用命令。"
)
GRANT_NEEDED: Final = Text(
    "This bot lacks a permission to show live cards. An admin can grant it here: {url}",
    "机器人缺少显示实时卡片所需的权限，管理员可在此开通：{url}",
)
LANE_FULL: Final = Text(
    "Session {alias} already has {count} messages waiting.",
    "会话 {alias} 已有 {count} 条消息在等待。",
)
STOPPED_NAMED: Final = Text("Stopped {alias}.", "已停止 {alias}。")
SESSIONS: Final = Text("Sessions:", "会话列表：")
NO_SESSIONS: Final = Text("No sessions yet.", "还没有会话。")
SESSION_OFFLINE: Final = Text(" (offline)", "（离线）")
SESSION_CURRENT: Final = Text(" [current]", " [当前]")
SESSION_UNKNOWN: Final = Text(
    'No session matching "{query}". Send /sessions to see all.',
    "没有匹配「{query}」的会话。发 /sessions 看看有哪些。",
)
SESSION_AMBIGUOUS: Final = Text(
    '"{query}" matches multiple sessions, please specify:', "「{query}」匹配到多个会话，请指定："
)
SWITCHED: Final = Text(
    "Switched to {alias} (previous: {previous})", "已切到 {alias}（上一个：{previous}）"
)
STILL_RUNNING: Final = Text("\n⏳ {alias} is still running…", "\n⏳ {alias} 仍在执行中…")
NOBODY: Final = Text("none", "无")
USE_USAGE: Final = Text(
    "Usage: /use <alias>, or /use - to go back to the channel's owner. /sessions lists them.",
    "用法：/use <别名>，或 /use - 回到频道所有者。发 /sessions 查看会话。",
)
NOT_STORED: Final = Text(
    "That could not be stored, so nothing has changed. Please try again.",
    "未能保存，未作任何更改，请重试。",
)
COMMAND_INTERRUPTED: Final = Text(
    "A restart interrupted this; it may have taken effect. Please look, and send it again if not.",
    "重启中断了此命令，可能已生效；请查看，未生效请重发。",
)
REPLY_MODE: Final = Text("Current reply mode: {mode}", "当前 reply mode：{mode}")
REPLY_MODE_SET: Final = Text("Reply mode set to: {mode}", "已设置 reply mode：{mode}")
REPLY_MODE_USAGE: Final = Text(
    "Usage: /replymode stream, final, verbose or reset",
    "用法：/replymode stream、final、verbose 或 reset",
)
NO_CURRENT_SESSION: Final = Text(
    "This chat is on no session yet. Send /sessions to see all.",
    "当前聊天还没有会话。发 /sessions 看看有哪些。",
)
STATUS_CHAT: Final = Text("This chat: {alias}", "本聊天：{alias}")
STATUS_BOUND: Final = Text(" (chosen by /use)", "（由 /use 指定）")
STATUS_OWNER: Final = Text("\nChannel owner: {alias}", "\n频道所有者：{alias}")
STATUS_EPOCH: Final = Text("\nLease epoch: {epoch}", "\n租约 epoch：{epoch}")
STATUS_QUEUE: Final = Text(
    "\nQueue: {pending} waiting, {in_flight} on their way",
    "\n队列：{pending} 条等待，{in_flight} 条投递中",
)
QUEUE: Final = Text("Waiting for {alias} ({count}):", "{alias} 的等待队列（{count}）：")
QUEUE_EMPTY: Final = Text("Nothing is waiting.", "队列为空。")
QUEUE_OTHER_CHAT: Final = Text("(in another chat)", "（来自其他聊天）")
QUEUE_DROPPED: Final = Text("Dropped from the queue: {content}", "已移出队列：{content}")
QUEUE_CLEARED: Final = Text("Dropped {count} from the queue.", "已移出 {count} 条。")
QUEUE_NO_SUCH: Final = Text(
    "There is no number {number} in the queue. Send /queue to see it.",
    "队列中没有第 {number} 条。发 /queue 查看。",
)
QUEUE_NOT_YOURS: Final = Text(
    "Only who sent a message, or an admin, can take it out of the queue.",
    "只有发送者或管理员可以移出该消息。",
)
QUEUE_USAGE: Final = Text(
    "Usage: /queue, /queue drop <n>, or /queue clear",
    "用法：/queue、/queue drop <序号> 或 /queue clear",
)
AGENT_UNKNOWN: Final = Text(
    "No agent {agent} is configured. Known: {known}.",
    "没有配置名为 {agent} 的 agent，可用：{known}。",
)
AGENTS_FULL: Final = Text(
    "{count} agents run already; close one first.", "已有 {count} 个 agent 在运行，请先关闭一个。"
)
AGENT_NO_DIRECTORY: Final = Text("{cwd} is no directory.", "{cwd} 不是目录。")
AGENT_STARTED: Final = Text("Started {alias}.", "已启动 {alias}。")
AGENT_STARTING: Final = Text(
    "⏳ {agent} is starting ({seconds} s)…", "⏳ {agent} 正在启动（{seconds} 秒）…"
)
AGENT_ENVIRONMENT: Final = Text(
    "\nThe daemon's environment has no {names}, which the configuration names for it.",
    "\n守护进程的环境中没有配置要求的 {names}。",
)
AGENT_NOT_BACK: Final = Text("{alias} did not come back: {why}", "{alias} 未能恢复：{why}")
NOT_CONFIGURED: Final = Text(
    "no agent {agent} is configured any more.", "已没有名为 {agent} 的 agent 配置。"
)
AGENT_GIVEN_UP: Final = Text(
    "{alias} ended {count} times in a row and is not started again. /close it, or look into"
    " larkd.log.",
    "{alias} 连续退出 {count} 次，不再自动启动。可用 /close 关闭它，或查看 larkd.log。",
)
AGENTS_OF_TOPICS: Final = Text(
    "{count} agents of topics run already; an admin can close one.",
    "已有 {count} 个话题 agent 在运行，管理员可以关闭一个。",
)
AGENT_FAILED: Final = Text("{alias} did not start: {why}", "{alias} 未能启动：{why}")
AGENT_LATE: Final = Text(
    "{alias} was not ready within {seconds} s.", "{alias} 在 {seconds} 秒内未就绪。"
)
AGENT_NOT_STARTED: Final = Text("It could not be started, please try again.", "未能启动，请重试。")
AGENT_CLOSED: Final = Text("Closed {alias}.", "已关闭 {alias}。")
AGENT_NOT_OURS: Final = Text(
    "{alias} was not started from a chat; end it where it runs.",
    "{alias} 不是从聊天中启动的，请在其运行处结束它。",
)
AGENT_NOT_ALLOWED: Final = Text(
    "Only an admin can start or close agents.", "只有管理员可以启动或关闭 agent。"
)
AGENT_OUTSIDE: Final = Text(
    "{cwd} lies outside of the directories where {agent} may be started.",
    "{cwd} 不在允许启动 {agent} 的目录内。",
)
AGENTS_OF_PERSON: Final = Text(
    "You have {count} agents running already; close one first.",
    "你已有 {count} 个 agent 在运行，请先关闭一个。",
)
OPTION_MODE: Final = Text("Mode: {value}", "模式：{value}")
OPTION_MODEL: Final = Text("Model: {value}", "模型：{value}")
OPTION_EFFORT: Final = Text("Effort: {value}", "推理强度：{value}")
NO_MODES: Final = Text("{alias} offers no modes.", "{alias} 没有可选的模式。")
NO_MODELS: Final = Text("{alias} offers no models.", "{alias} 没有可选的模型。")
NO_EFFORTS: Final = Text("{alias} offers no effort levels.", "{alias} 没有可选的推理强度。")
CHOICE_UNKNOWN: Final = Text(
    'There is no choice "{word}". Send the command alone to see all.',
    "没有「{word}」这个选项，单独发送该命令可查看全部。",
)
MORE_CHOICES: Final = Text(
    "{count} more: send {command} and a name.", "还有 {count} 项：发送 {command} 加名称。"
)
CHOICE_UNDER_WAY: Final = Text("It is being set…", "正在设置…")
CHOICE_NOT_ALLOWED: Final = Text("Only an admin can choose that.", "只有管理员可以选择它。")
CHOICE_FAILED: Final = Text("That was not chosen: {reason}", "未能选择：{reason}")
AGENT_COMMANDS: Final = Text("Commands of {alias}:", "{alias} 的命令：")
NO_AGENT_COMMANDS: Final = Text("{alias} offers no commands.", "{alias} 没有自己的命令。")
CONVERSATION_RESTORED: Final = Text(
    "{alias} was started again; the conversation goes on.", "{alias} 已重新启动，对话继续。"
)
CONVERSATION_LOST: Final = Text(
    "{alias} was started again, but its conversation could not be loaded ({reason});"
    " it begins anew.",
    "{alias} 已重新启动，但无法恢复之前的对话（{reason}），将重新开始。",
)
CONVERSATIONS: Final = Text(
    "Earlier conversations of {alias} in {cwd}:", "{alias} 在 {cwd} 的历史对话："
)
CONVERSATIONS_HOW: Final = Text(
    "\nSend /resume and a number to go on with one.", "\n发送 /resume 加序号即可继续。"
)
NO_CONVERSATIONS: Final = Text(
    "{alias} has no earlier conversations here.", "{alias} 在此没有历史对话。"
)
NO_CONVERSATION: Final = Text(
    "There is no conversation {number}. Send /resume to see all.",
    "没有第 {number} 个对话。发 /resume 查看全部。",
)
CONVERSATIONS_NOT_KEPT: Final = Text(
    "{alias} can't take up earlier conversations.", "{alias} 不支持恢复历史对话。"
)
SESSION_AWAY: Final = Text("{alias} is offline; start it first.", "{alias} 已离线，请先启动它。")
RESUMED: Final = Text("Resumed: {title}", "已恢复：{title}")
RESUME_FAILED: Final = Text("That was not resumed: {reason}", "未能恢复：{reason}")
RESUME_USAGE: Final = Text("Usage: /resume, or /resume <n>", "用法：/resume 或 /resume <序号>")
RESUME_NOT_ALLOWED: Final = Text(
    "Only who started it, or an admin, can take up its conversations.",
    "只有启动者或管理员可以恢复其对话。",
)
NEW_USAGE: Final = Text(
    "Usage: /new <agent> [alias] [directory]. Agents: {known}.",
    "用法：/new <agent> [别名] [目录]。可用 agent：{known}。",
)
DOCTOR_NOT_ALLOWED: Final = Text("Only an admin can ask for this.", "只有管理员可以查看。")
DOCTOR_FINE: Final = Text("✅ Everything is in order.", "✅ 一切正常。")
DOCTOR_NOBODY: Final = Text(
    "⚠️ No session gets the messages of this chat: start one, or choose one with /use.",
    "⚠️ 没有会话接收本聊天的消息：请启动一个，或用 /use 选择。",
)
DOCTOR_AWAY: Final = Text(
    "⚠️ {alias}, which this chat is on, is away: start it again, or choose another with /use.",
    "⚠️ 本聊天所在的 {alias} 已离线：请重新启动它，或用 /use 选择其他会话。",
)
DOCTOR_QUEUE: Final = Text(
    "⚠️ {pending} messages wait, the oldest for {age}: start the session they are for.",
    "⚠️ {pending} 条消息在等待，最久的已等 {age}：请启动它们所属的会话。",
)
DOCTOR_JOURNAL: Final = Text(
    "❌ The journal could not store something ({reason}): free space on its disk.",
    "❌ 日志库写入失败（{reason}）：请清理磁盘空间。",
)
DOCTOR_CALLS: Final = Text(
    "⚠️ The last call to the platform that failed: {reason}",
    "⚠️ 最近一次失败的平台调用：{reason}",
)
DOCTOR_GATEWAY: Final = Text(
    "❌ The gateway to the platform does not answer: look into larkd.log.",
    "❌ 平台网关没有响应：请查看 larkd.log。",
)
DOCTOR_MORE: Final = Text(
    "\nMore, on the machine: larkd doctor", "\n更多检查，请在机器上运行：larkd doctor"
)
HELP: Final = Text(
    "/sessions – the sessions you can talk to\n"
    "/use <alias> – send what you write here to that session; /use - for the channel's owner\n"
    "/cancel [alias] – stop the current task; so do words like stop\n"
    "/queue – what waits; /queue drop <n>, /queue clear\n"
    "/replymode [stream|final|verbose|reset] – how much of a task is shown while it runs\n"
    "/new <agent> [alias] [directory] – start an agent; /close [alias] – end it\n"
    "/resume [n] – earlier conversations of its agent; go on with one\n"
    "/mode, /model, /effort [choice] – how its agent works; /commands – its own commands\n"
    "//x – send /x to the session, also where it is a command of this list\n"
    "/why – what became of the message you quote, or of the last one\n"
    "/status – who hears this chat; /doctor – what is wrong, for admins\n"
    "/help – this list",
    "/sessions – 可以对话的会话\n"
    "/use <别名> – 把本聊天切到该会话；/use - 回到频道所有者\n"
    "/cancel [别名] – 停止当前任务，发送“停止”也可以\n"
    "/queue – 等待中的消息；/queue drop <序号>、/queue clear\n"
    "/replymode [stream|final|verbose|reset] – 任务执行时显示多少内容\n"
    "/new <agent> [别名] [目录] – 启动 agent；/close [别名] – 结束它\n"
    "/resume [序号] – 其 agent 的历史对话，可继续其中一个\n"
    "/mode、/model、/effort [选项] – agent 的工作方式；/commands – 它自己的命令\n"
    "//x – 把 /x 发给会话，即使本列表中有同名命令\n"
    "/why – 所引用的消息（或上一条消息）的处理情况\n"
    "/status – 谁在听本聊天；/doctor – 管理员查看哪里有问题\n"
    "/help – 本列表",
)
WHY_RECEIVED: Final = Text("received", "已收到")
WHY_NOT_READY: Final = Text(
    "; not ready yet: what it carries is being fetched, or a command before it runs",
    "；尚未就绪：正在获取附件，或之前的命令还在执行",
)
WHY_WAITING: Final = Text("waiting for {alias}", "正在等待 {alias}")
WHY_WAITING_FOR_NOBODY: Final = Text("waiting for a session", "正在等待会话")
WHY_BEHIND: Final = Text("; messages before it: {count}", "；排在前面的消息：{count}")
WHY_UNDER_WAY: Final = Text("; given and not answered yet: {count}", "；已送达但未回答：{count}")
WHY_OFFERED: Final = Text("offered to {alias}", "已发给 {alias}")
WHY_OFFERED_AGAIN: Final = Text(
    "offered to {alias} (attempt {count})", "已发给 {alias}（第 {count} 次）"
)
WHY_SEEN: Final = Text("seen by {alias}", "{alias} 已收到")
WHY_NOT_ANSWERED: Final = Text("; not answered yet", "；尚未回答")
WHY_ANSWERED: Final = Text("answered by {alias}", "{alias} 已回答")
WHY_REFUSED: Final = Text("refused: {reason}", "已拒绝：{reason}")
WHY_DROPPED: Final = Text("dropped: {reason}", "已移除：{reason}")
WHY_COMMAND: Final = Text("carried out as a command: {what}", "已作为命令执行：{what}")
WHY_DAMAGED: Final = Text("set aside: it could not be read", "已搁置：无法读取")
WHY_NOT_READ: Final = Text(
    "The journal did not answer; ask again in a moment.", "日志没有响应，请稍后再试。"
)
WHY_UNKNOWN: Final = Text(
    "Nothing is known of that message: it never arrived, or is older than 30 days.",
    "没有这条消息的记录：它没有到达，或已超过 30 天。",
)
BACKGROUND_DONE: Final = Text("✅ {alias} done", "✅ {alias} 已完成")
BACKGROUND_FAILED: Final = Text("⚠️ {alias} failed", "⚠️ {alias} 失败")
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
QUESTION_ANSWERED: Final = Text("Answered", "已回答")
QUESTION_EMPTY: Final = Text("Choose or write something first.", "请先选择或填写内容。")
QUESTION_CLOSED: Final = Text("This question is no longer open.", "此问题已关闭。")
QUESTION_NOT_FOR_YOU: Final = Text("You may not answer this.", "您无权回答此问题。")
QUESTION_NOT_STORED: Final = Text(
    "Your answer could not be kept; try again.", "暂时无法保存您的回答，请重试。"
)
TOAST_STOPPED: Final = Text("Stopped", "已停止")
TOAST_UNKNOWN: Final = Text("This button no longer does anything.", "此按钮已失效。")

# ── on a card ───────────────────────────────────────────────────────────────

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
SESSION_DISCONNECTED: Final = "session disconnected"


def minutes(seconds: float) -> int:
    """Return whole minutes for a notice, at least one."""
    return max(1, round(seconds / 60))


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
