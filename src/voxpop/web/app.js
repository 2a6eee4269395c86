// Runs the conversation: asks, follows, stops, begins anew; it keeps no answer and no post once the page is closed.

import { closeAccount, showUser } from "./account.js";
import { Answer } from "./answer.js";
import { closeCard } from "./cards.js";
import { openKept } from "./kept.js";
import { watch } from "./live.js";
import { toTheEnd } from "./resume.js";
import { asked, enter } from "./session.js";
import { closeStreams, showPolicy } from "./streams.js";
import { WORDS, clock, say, span, translate } from "./words.js";

const $ = (id) => document.getElementById(id);
const [box, send, thread, voice, latest] = ["question", "send", "thread", "voice", "latest"].map($);
let turns = [];
let running = null;
let following = true;

// Asking and answering

async function ask(question) {
  if (!question.trim() || running) return;
  const answer = new Answer(question.trim(), askAgain);
  const messages = history(answer.question);
  turns.push(answer);
  thread.append(answer.element);
  delete document.body.dataset.empty;
  document.title = `${answer.question} · voxpop`;
  const abort = new AbortController();
  setRunning(abort);
  following = true;
  answer.element.scrollIntoView({ block: "start" });
  if (matchMedia("(pointer: coarse)").matches) box.blur();
  try {
    await draw(answer, messages, abort.signal);
  } catch (error) {
    if (!abort.signal.aborted) console.error(error);
    if (abort.signal.aborted) answer.stop();
    else if (answer.begun) answer.fail(WORDS.lost);
    else answer.fail(WORDS.noServer, WORDS.noServerCure);
  }
  if (running === abort) setRunning(null);
  follow();
}

/** Ask the same again; the last turn gives way to its new answer. */
function askAgain(answer) {
  if (running) return;
  closeCard();
  if (answer === turns.at(-1)) {
    turns.pop();
    answer.element.remove();
  }
  ask(answer.question);
}

async function draw(answer, messages, signal) {
  const response = await asked("api/answer", {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream", "x-voxpop-resume": "true" },
    body: JSON.stringify({ messages, voice: voice.value || undefined, as_of: null }),
    signal,
  });
  if (!response.ok) return answer.fail(...(await problem(response)));
  answer.begun = true;
  for await (const event of toTheEnd(response, signal)) {
    answer.apply(event);
    follow();
  }
  if (!answer.finished) answer.fail(WORDS.lost);
}

async function problem(response) {
  const body = await response.json().catch(() => null);
  const error = body?.error ?? {};
  const seconds = Number(response.headers.get("retry-after"));
  const waits = response.status === 429 && seconds > 0;
  const back = waits ? WORDS.comeBack(clock(new Date(Date.now() + seconds * 1000)), span(seconds)) : "";
  return [error.message || WORDS.refused(response.status), [error.cure, back].filter(Boolean).join(" ")];
}

/** The whole conversation with its new question; a turn without an answer is left out. */
function history(question) {
  const answered = turns.filter((turn) => turn.text);
  const past = answered.flatMap((turn) => [
    { role: "user", content: turn.question },
    { role: "assistant", content: turn.text },
  ]);
  return [...past, { role: "user", content: question }];
}

function setRunning(abort) {
  running = abort;
  const word = abort ? WORDS.stop : WORDS.send;
  send.dataset.state = abort ? "stop" : "send";
  send.setAttribute("aria-label", word);
  box.placeholder = turns.length ? WORDS.followUp : WORDS.ask;
  $("send-word").textContent = word;
  enable();
}

function stop() {
  if (!running) return false;
  running.abort();
  say(WORDS.stopped);
  return true;
}

function begin() {
  stop();
  closeCard();
  running = null;
  turns = [];
  thread.replaceChildren();
  document.body.dataset.empty = "";
  document.title = "voxpop";
  window.history.replaceState(null, "", "./");
  setRunning(null);
  follow();
  box.focus();
}

// Following the text as it grows, until the reader scrolls up

/** How far the answer, its receipt included, reaches under the composer. */
function hiddenBelow() {
  const end = turns.at(-1)?.actions.getBoundingClientRect().bottom ?? 0;
  return end - $("composer").getBoundingClientRect().top;
}

function follow() {
  const hidden = hiddenBelow();
  if (following && hidden > 0) window.scrollBy({ top: hidden, behavior: "instant" });
  latest.hidden = following || !running || hidden <= 0;
}

let seenAt = 0;
window.addEventListener("scroll", () => {
  const up = window.scrollY < seenAt - 2;
  seenAt = window.scrollY;
  if (up && hiddenBelow() > 0) following = false;
  else if (hiddenBelow() <= 24) following = true;
  latest.hidden = following || !running;
}, { passive: true });
latest.addEventListener("click", () => {
  following = true;
  follow();
});

/** The heights of the bars that stick, for the style sheet. */
const bars = new ResizeObserver(() => {
  const { style } = document.documentElement;
  style.setProperty("--top", `${$("top").offsetHeight}px`);
  style.setProperty("--bottom", `${$("composer").offsetHeight}px`);
});
bars.observe($("top"));
bars.observe($("composer"));

// The composer and the keyboard

function enable() {
  send.disabled = !running && !box.value.trim();
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}

function submit() {
  if (running || !box.value.trim()) return;
  const question = box.value;
  box.value = "";
  ask(question);
}

box.addEventListener("input", enable);
box.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  submit();
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!stop()) submit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.isComposing && (closeCard() || closeStreams() || closeAccount() || stop())) event.preventDefault();
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("textarea, input, select")) return;
  event.preventDefault();
  box.focus();
});
$("new").addEventListener("click", begin);
document.querySelector(".brand").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  begin();
});

// What the page remembers: the theme and the voice

function remembered(key) {
  try {
    return localStorage.getItem(`voxpop.${key}`);
  } catch {
    return null;
  }
}

function remember(key, value) {
  try {
    localStorage.setItem(`voxpop.${key}`, value);
  } catch {
    // Storage is refused: the choice lasts as long as the page.
  }
}

const systemDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (systemDark.matches ? "dark" : "light")) === "dark";

function showTheme() {
  $("theme").setAttribute("aria-pressed", String(isDark()));
  const paper = getComputedStyle(document.body).backgroundColor;
  for (const meta of document.querySelectorAll('meta[name="theme-color"]')) meta.content = paper;
}

$("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  remember("theme", document.documentElement.dataset.theme);
  showTheme();
});
systemDark.addEventListener("change", showTheme);
voice.addEventListener("change", () => remember("voice", voice.value));

function offer(status) {
  const { voices = [], default_voice: usual = "", examples = [] } = status;
  showPolicy(status);
  voice.replaceChildren(...voices.map(({ name, title }) => new Option(title || name, name)));
  const favourite = [remembered("voice"), usual].find((wanted) => voices.some(({ name }) => name === wanted));
  if (favourite) voice.value = favourite;
  voice.closest("label").hidden = voices.length < 2;
  const items = examples.slice(0, 4).map((example) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = example;
    button.addEventListener("click", () => ask(example));
    const item = document.createElement("li");
    item.append(button);
    return item;
  });
  $("examples").querySelector("ul").replaceChildren(...items);
  $("examples").hidden = !items.length;
  begun();
}

/** Show a kept answer; to ask it again, or anything else, begins a conversation. */
async function show(id) {
  delete document.body.dataset.empty;
  const turn = await openKept(id, thread, ({ question }) => {
    begin();
    if (question) ask(question);
  });
  turn?.element.scrollIntoView({ block: "start" });
}

/**
 * `/?q=…` asks at once, in the remembered voice, as soon as the voices are known or the server stays silent;
 * `/?answer=…` opens a kept answer.
 */
let begun = () => {
  begun = () => {};
  const given = new URLSearchParams(location.search);
  if (given.get("answer")) return show(given.get("answer"));
  const question = given.get("q");
  if (question) ask(question.slice(0, box.maxLength));
};

translate(document);
showTheme();
setRunning(null);
watch(offer);
enter(showUser);
setTimeout(() => begun(), 800);
