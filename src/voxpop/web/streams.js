// Draws the panel of sources: how each fares, what it spends, and the posts of the last hour; it hides no trouble.

import { make } from "./cards.js";
import { WORDS, count, money, span } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDE, HIGH] = [240, 44];
const BEHIND_S = 60;
const element = (id) => document.getElementById(id);

// A server that does not say whether a state is well tells it in words; by its first one it is, or is about to be.
const WELL = /^(ok|live|ready|connect(ed|ing)|running|replaying|not started)\b/;
export const isWell = ({ ok, state = "" }) => ok ?? (!state || WELL.test(state));
export const isBehind = ({ behind_s: behind }) => behind >= BEHIND_S;

/** Open or close the panel by its button; it closes by Esc (see closeStreams) and by a click elsewhere. */
export function watchPanel() {
  element("meter").addEventListener("click", () => toggle(element("streams").hidden));
  document.addEventListener("pointerdown", ({ target }) => {
    if (!target.closest("#streams, #meter")) toggle(false);
  });
}

/** Close the panel and give the focus back; false where it was not open. */
export function closeStreams() {
  if (element("streams").hidden) return false;
  toggle(false);
  element("meter").focus();
  return true;
}

function toggle(open) {
  element("streams").hidden = !open;
  element("meter").setAttribute("aria-expanded", open);
}

/** Show a status: the panel's rows, the dots of the header, what is spent. */
export function showStreams({ sources = [], last_hour: hour = [] }) {
  const dots = sources.length > 1 ? sources.map((source) => dot(source)) : [];
  element("live-dots").replaceChildren(...dots);
  const paid = sources.filter(({ spend }) => spend);
  element("live-spend").textContent = paid.length ? spent(total(paid)) : "";
  element("streams-list").replaceChildren(...sources.map(row));
  draw(hour);
}

/** Show the rules under which a question is refused; all of them, as the server has them. */
export function showPolicy({ policy }) {
  const rules = policy?.rules ?? [];
  element("policy").hidden = !rules.length;
  element("policy-changed").textContent = policy?.changed ? WORDS.policyChanged : "";
  const items = rules.map(({ name, title, description }) => {
    const item = make("li");
    item.append(make("b", "", title), make("code", "", name), make("span", "state", description));
    return item;
  });
  element("policy-list").replaceChildren(...items);
}

function dot(source) {
  const mark = make("i", "dot");
  mark.dataset.state = isWell(source) ? (isBehind(source) ? "late" : "live") : "down";
  return mark;
}

function row(source) {
  const item = make("li");
  const parts = [];
  if (typeof source.posts_per_minute === "number") parts.push(WORDS.perMinute(count(source.posts_per_minute)));
  if (isBehind(source)) parts.push(WORDS.behind(span(source.behind_s)));
  else if (typeof source.lag_s === "number") parts.push(WORDS.lag(span(source.lag_s)));
  if (source.spend) parts.push(spent(source.spend));
  const name = make("b", "", source.name);
  const state = make("span", "state", source.state);
  state.dir = "auto";
  const figures = make("span", "figures");
  figures.append(...parts.map((part) => make("span", "", part)));
  item.append(dot(source), name, figures, state);
  return item;
}

function total(paid) {
  const sum = (name) => paid.reduce((all, { spend }) => all + (spend[name] ?? 0), 0);
  return { usd: sum("usd"), budget_usd: sum("budget_usd") };
}

const spent = ({ usd, budget_usd: budget }) => WORDS.spent(money(usd), budget ? money(budget) : "");

/** A line of posts per minute; the minute that has not ended is left out, since it would always seem to fall. */
function draw(hour) {
  const minutes = hour.slice(0, -1);
  const most = Math.max(0, ...minutes);
  element("hour").hidden = !most;
  if (!most) return;
  const at = (n, i) => `${((i * WIDE) / (minutes.length - 1)).toFixed(1)},${(HIGH - 1 - ((HIGH - 3) * n) / most).toFixed(1)}`;
  const points = minutes.map(at);
  const [area, line] = [["polygon", `0,${HIGH} ${points.join(" ")} ${WIDE},${HIGH}`], ["polyline", points.join(" ")]].map(shape);
  const chart = element("hour-chart");
  chart.replaceChildren(area, line);
  chart.setAttribute("aria-label", WORDS.hourOf(count(minutes.at(-1)), count(most)));
  element("hour-most").textContent = WORDS.atMost(count(most));
}

function shape([name, points]) {
  const made = document.createElementNS(SVG, name);
  made.setAttribute("points", points);
  return made;
}
