// Draws a cited post as a card, in the list of sources or over the text; what a post says is shown as text, never as markup.

import { WORDS, clock, count, exactTime, isTime, secondsSince, timeElement } from "./words.js";

const CLAIM_TOLERANCE_S = 120;

/** An element with text in it: the only way that text enters the page. */
export function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

/** The address if it is a web address, else null. */
export function webAddress(url) {
  try {
    const parsed = new URL(url);
    return parsed.protocol === "https:" || parsed.protocol === "http:" ? parsed.href : null;
  } catch {
    return null;
  }
}

export function link(url, text) {
  const anchor = make("a", "", text);
  anchor.href = url;
  anchor.rel = "noopener noreferrer nofollow";
  anchor.target = "_blank";
  return anchor;
}

export function authorName({ author = {} }) {
  return author.name || (author.handle ? `@${author.handle}` : "");
}

/** Whose word it is, as the lists and the networks say; what an account says of itself counts for nothing. */
export function peopleOf({ author_class: people }) {
  return WORDS.people[people] ?? WORDS.people.unknown;
}

export function toneOf({ tone }) {
  return WORDS.tones[tone] ?? tone;
}

export function networkName({ network = "" }) {
  return network.charAt(0).toUpperCase() + network.slice(1);
}

/** The card of a post; `sentence`, where the post contains it word for word, is marked. */
export function card(citation, sentence = "") {
  const { author = {}, n } = citation;
  const box = make("article", "post");
  const head = make("header");
  const who = make("span", "who");
  who.append(make("bdi", "name", author.name || author.handle || "?"));
  if (author.handle) who.append(" ", make("bdi", "handle", `@${author.handle}`));
  if (citation.tone) who.append(" ", make("span", "tone", toneOf(citation)));
  head.append(make("span", "number", String(n)), who);
  const text = markedText(citation.text || "", sentence);
  text.dir = "auto";
  if (/^[a-z]{2,3}(-[a-z0-9]+)*$/i.test(citation.lang || "")) text.lang = citation.lang;
  box.append(head, text, foot(citation));
  return box;
}

function foot(citation) {
  const line = make("footer");
  const { created_at: created, witnessed_at: witnessed, duplicates = 1, independent_authors: authors = 1 } = citation;
  const shown = isTime(witnessed) ? witnessed : created;
  const listed = ["authority", "press"].includes(citation.author_class);
  line.append(make("span", listed ? "listed" : "people", peopleOf(citation)));
  if (citation.network) line.append(make("span", "", networkName(citation)));
  if (isTime(shown)) {
    const titles = [];
    if (isTime(created)) titles.push(WORDS.posted(exactTime(created)));
    if (isTime(witnessed)) titles.push(WORDS.seen(exactTime(witnessed)));
    const when = make("span", "", `${clock(shown)} · `);
    when.append(timeElement(shown, titles.join("\n")));
    line.append(when);
    if (isTime(created) && Math.abs(secondsSince(created) - secondsSince(shown)) > CLAIM_TOLERANCE_S) {
      line.append(make("span", "claimed", WORDS.dated(clock(created))));
    }
  }
  if (duplicates > 1) line.append(make("span", "crowd", WORDS.crowd(count(duplicates), count(authors))));
  const address = webAddress(citation.url);
  if (address) line.append(link(address, `${WORDS.openOn(networkName(citation))} ↗`));
  return line;
}

function markedText(text, sentence) {
  const body = make("p", "said");
  const quoted = [...sentence.matchAll(/[“"«]\s*([^”"»]+)/g)].map(([, words]) => words);
  const spoken = [sentence, ...quoted].map((words) => words.trim().replace(/[.!?…”"»\s]+$/, ""));
  const found = spoken.find((words) => words.length > 7 && text.includes(words));
  if (!found) {
    body.textContent = text;
    return body;
  }
  const start = text.indexOf(found);
  const end = start + found.length;
  body.append(text.slice(0, start), make("mark", "", text.slice(start, end)), text.slice(end));
  return body;
}

// The one card that opens over the text: by hover, by focus, by click or tap. Esc and a click elsewhere close it.

const OPEN_MS = 90;
const CLOSE_MS = 220;

const sheet = document.getElementById("card");
let owner = null;
let pinned = false;
let timer = 0;

/** A numbered chip that opens its post's card. */
export function chip(citation, sentence) {
  const button = make("button", "chip", String(citation.n));
  button.type = "button";
  button.setAttribute("aria-label", WORDS.source(citation.n, authorName(citation)));
  button.setAttribute("aria-haspopup", "dialog");
  button.setAttribute("aria-expanded", "false");
  const show = (pin) => open(button, citation, sentence, pin);
  button.addEventListener("pointerenter", (event) => {
    if (event.pointerType === "touch") return;
    later(OPEN_MS, () => pinned || show(false));
  });
  button.addEventListener("pointerleave", leave);
  button.addEventListener("focus", () => button.matches(":focus-visible") && owner !== button && show(false));
  button.addEventListener("click", () => (owner === button && pinned ? close() : show(true)));
  button.addEventListener("keydown", (event) => {
    const first = owner === button && reachable()[0];
    if (event.key !== "Tab" || event.shiftKey || !first) return;
    event.preventDefault();
    pinned = true;
    first.focus();
  });
  button.addEventListener("blur", (event) => {
    if (owner === button && !pinned && !sheet.contains(event.relatedTarget)) close();
  });
  return button;
}

/** Close the open card; true if there was one. */
export function closeCard() {
  if (!owner) return false;
  const button = owner;
  const within = sheet.contains(document.activeElement);
  close();
  if (within) button.focus();
  close();
  return true;
}

function open(button, citation, sentence, pin) {
  clearTimeout(timer);
  if (owner !== button) close();
  owner = button;
  pinned = pin;
  const shut = make("button", "shut", WORDS.close);
  shut.type = "button";
  shut.addEventListener("click", closeCard);
  sheet.replaceChildren(card(citation, sentence), shut);
  sheet.setAttribute("aria-label", WORDS.source(citation.n, authorName(citation)));
  sheet.hidden = false;
  button.setAttribute("aria-expanded", "true");
  button.closest(".sentence")?.classList.add("lit");
  place(button.getBoundingClientRect());
}

function place(chipBox) {
  const { width, height } = sheet.getBoundingClientRect();
  const room = document.documentElement.clientWidth - width - 12;
  const below = chipBox.bottom + 8;
  const fitsBelow = below + height < window.innerHeight - 12 || chipBox.top < height + 72;
  sheet.style.left = `${Math.max(12, Math.min(chipBox.left - 24, room))}px`;
  sheet.style.top = `${(fitsBelow ? below : chipBox.top - height - 8) + window.scrollY}px`;
}

function close() {
  clearTimeout(timer);
  if (!owner) return;
  owner.setAttribute("aria-expanded", "false");
  owner.closest(".sentence")?.classList.remove("lit");
  owner = null;
  pinned = false;
  sheet.hidden = true;
}

function later(wait, then) {
  clearTimeout(timer);
  timer = setTimeout(then, wait);
}

function leave() {
  later(CLOSE_MS, () => pinned || close());
}

const reachable = () => [...sheet.querySelectorAll("a[href], button")].filter((element) => element.offsetParent);

sheet.addEventListener("pointerenter", () => clearTimeout(timer));
sheet.addEventListener("pointerleave", leave);
sheet.addEventListener("keydown", (event) => {
  if (event.key !== "Tab") return;
  const stops = reachable();
  const leaving = event.shiftKey ? stops[0] : stops.at(-1);
  if (document.activeElement !== leaving) return;
  const button = owner;
  close();
  button.focus({ preventScroll: true });
  close();
  if (event.shiftKey) event.preventDefault();
});
document.addEventListener("pointerdown", (event) => {
  if (owner && !sheet.contains(event.target) && !owner.contains(event.target)) close();
});
window.addEventListener("resize", close);
