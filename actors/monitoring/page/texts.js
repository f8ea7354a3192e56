const plural = (n, one, many) => n + " " + (n === 1 ? one : many);

export const texts = {
  en: {
    other: "中文", title: "larkd console", connecting: "connecting…", live: "live", lost: "The connection is lost; trying again.", expired: "This address is no longer valid. Run: larkd console", unreachable: "The daemon can't be reached.",
    waiting: "Waiting", cards: "Cards in flight", approvals: "Approvals waiting", budgetUsed: "Budget used", sessions: "Sessions", turns: "Running", queue: "Queue", chats: "Chats", connections: "Connections", refused: "Refused", budgets: "Budgets", log: "Log of the message",
    budgetHour: "Budget used in the last hour", staleHour: "Age of replaced text in the last hour", waitingHour: "Waiting messages in the last hour", hourAgo: "1 h ago", now: "now", became: "What became of a message", messageId: "Message or event id", show: "Show",
    alias: "Alias", role: "Role", does: "Does", where: "Where", channel: "Channel", action: "Action", session: "Session", chat: "Chat", since: "Since", asksFor: "Asks for", validFor: "Valid for", message: "Message", waitsFor: "Waits for", heardBy: "Goes to", lastWrote: "Last wrote", account: "Account", state: "State", lastEvent: "Last event", reason: "Reason", count: "How often", endpoint: "Endpoint", perMinute: "In this minute",
    return: "Return to the dispatcher", reclaim: "Take back", give: "Give the channel", giveTo: (alias) => `Give the channel to ${alias}`, stop: "Stop", stopOf: (alias, chat) => `Stop ${alias} in ${chat}`, why: "Why?", whyOf: (id) => `Why? ${id}`,
    daemon: (version, start, up) => `${version}, start ${start}, up ${up}`, lookOnly: "to look only", notServing: "does not serve now", ago: (text) => `${text} ago`, never: "none yet",
    oldest: (text) => `the oldest for ${text}`, nothingLate: "nothing is late", offered: (n) => `${plural(n, "message", "messages")} offered and not yet taken`, askedInChat: "asked in the chat", fullest: (name) => `fullest: ${name}`, idle: "idle", channelSession: "channel", turn: (text) => `a turn, ${text}`, turnsHere: (n, text) => `${n} turns, the longest ${text}`, stuck: "does not stop", unanswered: (n) => `${n} not answered`, waits: (n) => `${n} waiting`, gets: "gets the messages", granted: "may take it", nobody: "nobody; messages wait", owner: "the channel's owner", hidden: "(shown with the full address)", notRead: "(not read yet)", long: "(long)", admins: "the admins", direct: "direct chat", topicOf: (chat, topic) => `${chat}, topic ${topic}`,
    noSession: "No session is connected. Attach one: larkd acp --alias codex -- codex-acp", noTurn: "No turn runs.", noApproval: "Nothing is asked.", noQueue: "Nothing waits.", noChat: "Nobody wrote yet.", noConnection: "No connection yet.", noRefusal: "Nothing was refused.", noBudget: "No call yet.", unknown: "Nothing is known of it.",
    bound: (alias) => `${alias} (bound)`, dispatcher: "dispatcher", sessionRole: "session", observer: "observer", of: (n, max) => `${n} of ${max}`,
    states: {}, done: (_action, _alias, result) => result, notDone: (error) => error,
    plotLabel: (what, last, most) => last == null ? `${what}: nothing yet` : `${what}: last ${last}, at most ${most}`,
  },
  zh: {
    other: "EN", title: "larkd 控制台", connecting: "正在连接…", live: "实时", lost: "连接已断开，正在重试。", expired: "此地址已失效。请运行：larkd console", unreachable: "无法连接守护进程。",
    waiting: "等待中", cards: "进行中的卡片", approvals: "等待批准", budgetUsed: "已用配额", sessions: "会话", turns: "运行中", queue: "队列", chats: "聊天", connections: "连接", refused: "已拒绝", budgets: "配额", log: "消息的日志",
    budgetHour: "最近一小时的配额使用", staleHour: "最近一小时被替换文本的时长", waitingHour: "最近一小时等待的消息", hourAgo: "1 小时前", now: "现在", became: "某条消息的经过", messageId: "消息或事件 ID", show: "查看",
    alias: "别名", role: "角色", does: "正在做", where: "目录", channel: "频道", action: "操作", session: "会话", chat: "聊天", since: "已持续", asksFor: "请求", validFor: "有效期", message: "消息", waitsFor: "等待", heardBy: "交给", lastWrote: "最近来信", account: "账号", state: "状态", lastEvent: "最近事件", reason: "原因", count: "次数", endpoint: "接口", perMinute: "本分钟",
    return: "交还调度会话", reclaim: "收回", give: "频道交给此会话", giveTo: (alias) => `频道交给此会话：${alias}`, stop: "停止", stopOf: (alias, chat) => `停止 ${alias}（${chat}）`, why: "经过", whyOf: (id) => `经过 ${id}`,
    daemon: (version, start, up) => `${version}，第 ${start} 次启动，已运行 ${up}`, lookOnly: "只读", notServing: "当前未提供服务", ago: (text) => `${text}前`, never: "尚无",
    oldest: (text) => `最久 ${text}`, nothingLate: "没有积压", offered: (n) => `${n} 条已派发、尚未接收`, askedInChat: "在聊天中询问", fullest: (name) => `最满：${name}`, idle: "空闲", channelSession: "频道会话", turn: (text) => `任务，${text}`, turnsHere: (n, text) => `${n} 个任务，最久 ${text}`, stuck: "无法停止", unanswered: (n) => `${n} 条未回复`, waits: (n) => `${n} 条等待`, gets: "接收消息", granted: "可以接管", nobody: "无人接收，消息在等待", owner: "频道的拥有者", hidden: "（完整地址才显示）", notRead: "（尚未读取）", long: "（较长）", admins: "管理员", direct: "单聊", topicOf: (chat, topic) => `${chat}，话题 ${topic}`,
    noSession: "没有已连接的会话。接入一个：larkd acp --alias codex -- codex-acp", noTurn: "没有运行中的任务。", noApproval: "没有等待批准的请求。", noQueue: "没有等待的消息。", noChat: "还没有人来信。", noConnection: "尚无连接。", noRefusal: "没有被拒绝的消息。", noBudget: "尚无调用。", unknown: "没有任何记录。",
    bound: (alias) => `${alias}（已绑定）`, dispatcher: "调度", sessionRole: "会话", observer: "观察", of: (n, max) => `${n} / ${max}`,
    states: { connected: "已连接", connecting: "正在连接", reconnecting: "正在重连", refused: "被拒绝", frozen: "已冻结", closed: "已关闭" },
    done: (action, alias) => ({ stop: `已停止 ${alias}。`, acquire: `频道已交给 ${alias}。`, return: "频道已交还调度会话。", reclaim: "频道已收回。" })[action], notDone: (error) => `未完成：${error}`,
    plotLabel: (what, last, most) => last == null ? `${what}：尚无数据` : `${what}：最近 ${last}，最高 ${most}`,
  },
};

const UNITS = { en: [" s", " min", " h"], zh: [" 秒", " 分钟", " 小时"] };

export function duration(language, ms) {
  const [second, minute, hour] = UNITS[language], s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return s + second;
  if (s < 3600) return Math.floor(s / 60) + minute;
  const rest = Math.floor(s % 3600 / 60);
  return Math.floor(s / 3600) + hour + (rest ? " " + rest + minute : "");
}
