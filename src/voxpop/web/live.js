// Keeps the header and the banners true to the server's stream; it reconnects for ever and hides no trouble.

import { asked, check } from "./session.js";
import { isBehind, isWell, showStreams, watchPanel } from "./streams.js";
import { WORDS, count, say, setClock, span } from "./words.js";

const LATE_S = 15;
const SILENT_MS = 5000;
const FAILING_MS = 1500;
const BARS = 20;
const SVG = "http://www.w3.org/2000/svg";

const element = (id) => document.getElementById(id);
const arrivals = [];
let lastPosts = null;
let silence = 0;
let stream = null;
let retry = 0;
let wait = 500;
let failing = false;
let greeted = false;
let simulated = false;
let engine = {};

/** The model that an engine of this name writes with now; empty where it has none. */
export function modelOf(name) {
  return engine.name === name ? engine.model : "";
}

/** Follow the server; `onStatus` gets its voices and examples once it can be reached. */
export function watch(onStatus) {
  const connect = () => {
    clearTimeout(retry);
    stream?.close();
    stream = new EventSource("api/live");
    stream.addEventListener("live", (event) => {
      wait = 500;
      failing = false;
      show(JSON.parse(event.data));
      listen(SILENT_MS);
      if (!greeted) greet(onStatus);
    });
    stream.addEventListener("error", () => {
      if (!failing) listen(FAILING_MS);
      failing = true;
      if (stream.readyState !== EventSource.CLOSED) return;
      check(); // it may be that nobody is signed in any more
      retry = setTimeout(connect, wait);
      wait = Math.min(wait * 2, 15000);
    });
  };
  // A hidden page lets go of its connection: browsers allow only six to one server.
  document.addEventListener("visibilitychange", () => {
    clearTimeout(retry);
    clearTimeout(silence);
    stream.close();
    lastPosts = null;
    if (document.visibilityState === "visible") begin();
  });
  const begin = () => {
    failing = false;
    listen(SILENT_MS);
    connect();
  };
  window.addEventListener("online", begin);
  element("live-rate").textContent = WORDS.connecting;
  watchPanel();
  greet(onStatus);
  begin();
}

async function greet(onStatus) {
  greeted = true;
  try {
    const response = await asked("api/status", { headers: { accept: "application/json" } });
    if (!response.ok) throw new Error(response.status);
    setClock(response);
    const status = await response.json();
    show(status);
    onStatus(status);
  } catch {
    greeted = false;
  }
}

function listen(patience) {
  clearTimeout(silence);
  silence = setTimeout(lost, patience);
}

function lost() {
  element("meter").dataset.state = "offline";
  element("live-rate").textContent = WORDS.offline;
  for (const id of ["live-lag", "live-posts", "live-dots", "live-spend"]) element(id).textContent = "";
  lastPosts = null;
  const trouble = { key: "unreachable", kind: "unreachable", title: WORDS.unreachable, line: WORDS.unreachableLine };
  banners([...simulation(), trouble]);
}

function show(live) {
  simulated = live.simulated;
  engine = live.engine || {};
  const known = typeof live.lag_s === "number";
  const late = known && live.lag_s > LATE_S;
  element("meter").dataset.state = late ? "late" : "live";
  element("live-rate").textContent = live.posts ? WORDS.perMinute(count(live.posts_per_minute)) : WORDS.waiting;
  const behind = Math.max(0, ...(live.sources || []).filter(isBehind).map((source) => source.behind_s));
  element("live-lag").textContent = behind ? WORDS.behind(span(behind)) : known ? WORDS.lag(span(live.lag_s)) : "";
  element("live-posts").textContent = live.posts ? WORDS.posts(live.posts, count(live.posts)) : "";
  showStreams(live);
  if (lastPosts !== null) pulse(Math.max(0, live.posts - lastPosts));
  lastPosts = live.posts;
  banners(troubles(live, late));
}

function troubles(live, late) {
  const found = simulation();
  for (const source of live.sources || []) {
    if (isWell(source)) continue;
    const { name, state } = source;
    found.push({ key: `source ${name}`, kind: "source", title: WORDS.sourceDown, line: WORDS.sourceLine(name, state) });
  }
  if (late) found.push({ key: "late", kind: "late", title: WORDS.late, line: WORDS.lateLine(span(live.lag_s)) });
  if (!isWell(live.engine || {})) {
    const { name, state } = live.engine;
    found.push({ key: "engine", kind: "engine", title: WORDS.engineDown, line: WORDS.engineLine(name, state) });
  }
  return found;
}

function simulation() {
  if (!simulated) return [];
  return [{ key: "simulated", kind: "simulated", title: WORDS.simulated, line: WORDS.simulatedLine }];
}

/** Show exactly these banners; one that stays keeps its element, and only a new one is announced. */
function banners(wanted) {
  const box = element("banners");
  const kept = new Map([...box.children].map((banner) => [banner.dataset.key, banner]));
  box.replaceChildren(...wanted.map(({ key, kind, title, line }) => {
    const banner = kept.get(key) ?? draw(key, kind, title, line);
    if (banner.lastChild.textContent !== line) banner.lastChild.textContent = line;
    return banner;
  }));
}

function draw(key, kind, title, line) {
  const banner = document.createElement("p");
  Object.assign(banner.dataset, { key, kind });
  banner.append(document.createElement("b"), document.createElement("span"));
  banner.firstChild.textContent = title;
  say(`${title}. ${line}`);
  return banner;
}

/** One bar a second: how many posts came in. */
function pulse(arrived) {
  arrivals.push(arrived);
  if (arrivals.length > BARS) arrivals.shift();
  const top = Math.max(4, ...arrivals);
  const bars = arrivals.map((n, i) => {
    const height = 2 + (18 * n) / top;
    const bar = document.createElementNS(SVG, "rect");
    const box = { x: 60 - 3 * (arrivals.length - i), y: 20 - height, width: 2, height };
    for (const [name, value] of Object.entries(box)) bar.setAttribute(name, value);
    return bar;
  });
  element("pulse").replaceChildren(...bars);
}
