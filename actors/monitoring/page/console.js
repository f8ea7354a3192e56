/* The console: draws what /api/stream sends, and acts through the dispatcher's address. */

import { plot } from "/static/plot.js";
import { $, button, setRows, setText } from "/static/table.js";
import { duration, texts } from "/static/texts.js";

const SILENT_MS = 15_000;
const LATE_MS = 60_000; // for a message to wait
const token = new URLSearchParams(location.search).get("token") || "";
const headers = { Authorization: "Bearer " + token };
let language = localStorage.getItem("larkd-language") || (navigator.language.startsWith("zh") ? "zh" : "en");
let t = texts[language], latest = null, link = ["connecting", ""], found = null;
let ahead = 0; // how many milliseconds this machine's clock is before the daemon's

const lasting = (ms) => duration(language, ms);
const now = () => Date.now() - ahead;
const since = (at) => at == null ? "–" : lasting(now() - at);
const percent = (share) => Math.round(share * 100) + " %";
const seconds = (s) => (s < 10 ? Math.round(s * 10) / 10 : Math.round(s)) + (language === "zh" ? " 秒" : " s");

function setLanguage(chosen) {
  language = chosen;
  t = texts[language];
  localStorage.setItem("larkd-language", language);
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = t.title;
  $("language").textContent = t.other;
  $("language").lang = language === "zh" ? "en" : "zh-CN";
  for (const at of document.querySelectorAll("[data-t]")) at.textContent = t[at.dataset.t];
  for (const at of document.querySelectorAll("[data-t-label]")) at.setAttribute("aria-label", t[at.dataset.tLabel]);
  setText("link", t[link[0]], link[1]);
  if (latest) draw(latest); else setText("daemon", t.connecting);
  drawLog();
}

function setLink(text, kind) {
  link = [text, kind];
  setText("link", t[text], kind);
}

async function act(path, body, alias = "") {
  setText("outcome", "…");
  try {
    const answer = await fetch(path, { method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body) });
    const done = await answer.json();
    setText("outcome", answer.ok ? t.done(body.action || "stop", alias, done.result) : t.notDone(done.error), answer.ok ? "good" : "bad");
  } catch (lost) {
    setText("outcome", t.unreachable, "bad");
  }
}

function draw(view) {
  const status = view.status, queue = status.queue || {}, daemon = status.daemon || {};
  const sessions = status.sessions || [], can = view.may_act;
  const known = new Map(sessions.map((one) => [one.sessionId, one]));
  const alias = (id) => known.get(id)?.alias || id || t.nobody;
  const accounts = Object.entries(status.connection || {});
  const chatOf = (one) => {
    let name = one.chat || one.chat_id || "–";
    if (one.chat_id?.startsWith("ou_") && !one.chat) name = t.admins;
    if (accounts.length > 1) name = one.account + ": " + name;
    return one.topic ? t.topicOf(name, one.topic) : name;
  };
  setText("daemon", view.serving ? t.daemon(daemon.version, daemon.generation, since(daemon.started_at)) + (can ? "" : " · " + t.lookOnly) : t.notServing);

  setText("waiting", String(queue.pending ?? "–"), queue.oldest_pending_ms >= LATE_MS ? "bad" : "");
  setText("waiting-more", queue.oldest_pending_ms ? t.oldest(lasting(queue.oldest_pending_ms)) : t.nothingLate);
  setText("cards-count", String(view.cards_in_flight ?? "–"));
  setText("cards-more", queue.in_flight ? t.offered(queue.in_flight) : "");
  setText("approvals-count", view.approvals == null ? "–" : String(view.approvals.length), view.approvals?.length ? "bad" : "");
  setText("approvals-more", view.approvals?.length ? t.askedInChat : "");
  const fullest = view.budgets[0];
  setText("budget", fullest ? percent(fullest.in_minute / Math.max(1, fullest.minute_max)) : "–");
  setText("budget-more", fullest ? t.fullest(endpoint(fullest)) : "");

  // What a channel session has not answered is no turn.
  const turns = view.turns.filter((one) => one.seen_by === "card" || known.get(one.session_id)?.capabilities?.includes("turns"));
  const busy = Map.groupBy ? Map.groupBy(turns, (one) => one.session_id) : groupBy(turns);
  setRows("sessions", sessions.map((one) => {
    const id = one.sessionId;
    return { key: id, cells: [one.alias, role(one.role), does(one, busy.get(id) || []), one.metadata?.cwd || "–",
      status.effective_target_session_id === id ? t.gets : status.granted_session_id === id ? t.granted : "–",
      button(t.give, () => act("/api/handoff", { action: "acquire", session_id: id }, one.alias), { disabled: !can || status.owner_session_id === id, about: t.giveTo(one.alias) })] };
  }), t.noSession);
  for (const name of ["return", "reclaim"]) $(name).disabled = !can;

  setRows("turns", turns.map((one) => ({ key: [one.session_id, one.account, one.chat_id].join(" "), cells: [alias(one.session_id), chatOf(one), since(one.since),
    button(t.stop, () => act("/api/stop", { session_id: one.session_id, chat_id: one.chat_id }, alias(one.session_id)), { disabled: !can, about: t.stopOf(alias(one.session_id), chatOf(one)) })] })), t.noTurn);
  setRows("asked", (view.approvals || []).map((one, n) => ({ key: [one.session_id, one.chat_id, n].join(" "), cells: [one.alias, chatOf(one), can ? [one.title, one.detail].filter(Boolean).join("\n") : t.hidden, lasting(one.expires_at - now())] })), t.noApproval);
  for (const cell of $("asked").querySelectorAll("td:nth-child(3)")) cell.className = "text";
  setRows("queue", view.queue.map((one) => ({ key: [one.account, one.message_id, one.received_at].join(" "), cells: [chatOf(one), !can ? t.hidden : one.text ?? (one.state === "received" ? t.notRead : t.long), one.session_id ? alias(one.session_id) : status.effective_target_session_id ? alias(status.effective_target_session_id) : t.nobody, since(one.received_at),
    one.message_id ? button(t.why, () => explain(one.message_id), { about: t.whyOf(one.message_id) }) : "–"] })), t.noQueue);
  setRows("chats", view.chats.map((one) => ({ key: [one.account, one.chat_id, one.topic].join(" "), cells: [chatOf(one), one.bound ? t.bound(alias(one.session_id)) : alias(one.session_id), one.last_at ? t.ago(since(one.last_at)) : "–"] })), t.noChat);
  setRows("connections", accounts.map(([name, one]) => ({ key: name, cells: [name, (t.states[one.state] || one.state) + (one.last_error ? ": " + one.last_error : ""), one.last_event_at ? t.ago(since(one.last_event_at)) : t.never], kind: one.state === "connected" ? "" : "bad" })), t.noConnection);
  setRows("refused", view.refused.map((one) => ({ key: one.account + " " + one.reason.en, cells: [(accounts.length > 1 ? one.account + ": " : "") + one.reason[language], one.count] })), t.noRefusal);
  setRows("budgets", view.budgets.filter((one) => one.in_minute).slice(0, 6).map((one) => ({ key: one.account + " " + one.endpoint, cells: [endpoint(one), t.of(one.in_minute, one.minute_max)] })), t.noBudget);
  drawPlots(view.samples);
}

function groupBy(turns) {
  const groups = new Map();
  for (const one of turns) groups.set(one.session_id, [...(groups.get(one.session_id) || []), one]);
  return groups;
}

const endpoint = (use) => use.endpoint.replace("/open-apis", "");
const role = (name) => name === "session" ? t.sessionRole : t[name] || name;

function does(session, turns) {
  if (session.unresponsive) return t.stuck;
  if (turns.length > 1) return t.turnsHere(turns.length, since(turns[0].since));
  if (turns.length) return t.turn(since(turns[0].since));
  if (session.unanswered) return t.unanswered(session.unanswered);
  return session.capabilities?.includes("turns") ? t.idle : t.channelSession;
}

function drawPlots(samples) {
  const each = (id, value, least, format, what) => plot($(id), samples, value, { least, format, from: t.hourAgo, to: t.now,
    label: (last, most) => t.plotLabel(what, last == null ? null : format(last), most == null ? null : format(most)) });
  each("plot-budget", (one) => one.budget, 1, percent, t.budgetHour);
  each("plot-stale", (one) => one.staleness_s, 2, seconds, t.staleHour);
  each("plot-waiting", (one) => one.waiting, 5, (n) => String(Math.round(n)), t.waitingHour);
}

async function explain(id) {
  $("log-id").value = id;
  $("log").hidden = false;
  $("log").textContent = "…";
  try {
    found = await (await fetch("/api/log?message=" + encodeURIComponent(id), { headers })).json();
  } catch (lost) {
    found = { error: t.unreachable };
  }
  drawLog();
  $("log").scrollIntoView({ block: "nearest" });
}

function drawLog() {
  if (!found) return;
  const lines = (found.log || []).map(({ timestamp, level, event, ...rest }) => [timestamp, event, ...Object.entries(rest).map(([key, value]) => key + "=" + value)].join(" "));
  const steps = found.steps ? found.steps[language] : found.error || (lines.length ? "" : t.unknown);
  $("log").textContent = [steps, ...lines].filter(Boolean).join("\n");
}

async function follow() {
  for (let wait = 500; ; wait = Math.min(wait * 2, 8000)) {
    // Something comes every second, be it a comment: silence is a dead connection.
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENT_MS);
    try {
      const answer = await fetch("/api/stream", { headers, signal: silence.signal });
      if (answer.status === 401) { setLink("expired", "bad"); return; }
      if (!answer.ok) throw new Error(answer.status);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ;) {
        const { value, done } = await reader.read();
        if (done) break;
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENT_MS);
        const events = (rest + value).split("\n\n");
        rest = events.pop();
        for (const event of events) {
          if (event.startsWith("event: clock")) ahead = Date.now() - Number(event.split("data: ")[1]);
          else if (event.startsWith("data: ")) latest = JSON.parse(event.slice(6));
          if (latest) draw(latest);
          wait = 500;
          setLink("live", "good");
        }
      }
    } catch (lost) { /* tried again below */ }
    clearTimeout(timer);
    setLink("lost", "bad");
    await new Promise((again) => setTimeout(again, wait));
  }
}

$("language").onclick = () => setLanguage(language === "zh" ? "en" : "zh");
for (const name of ["return", "reclaim"]) $(name).onclick = () => act("/api/handoff", { action: name });
$("log-form").onsubmit = (event) => {
  event.preventDefault();
  const id = $("log-id").value.trim();
  if (id) explain(id);
};
setLanguage(language);
follow();
