// Draws who is signed in: what their tier leaves them, when it resets, and their keys; a key's secret is shown once and kept nowhere.

import { make } from "./cards.js";
import { asked, signOut } from "./session.js";
import { WORDS, clock, count, say, span } from "./words.js";

const element = (id) => document.getElementById(id);
const JSON_TYPE = { "content-type": "application/json" };

/** Show the button of who is here, and their panel behind it. */
export function showUser(user) {
  element("me").hidden = false;
  element("me-name").textContent = user.name;
  element("account-name").textContent = user.name;
  element("account-rank").textContent = WORDS.ranks[user.rank] ?? user.rank;
  element("me").addEventListener("click", () => toggle(element("account").hidden));
  element("sign-out").addEventListener("click", () => signOut(false));
  element("sign-out-all").addEventListener("click", () => signOut(true));
  element("new-key").addEventListener("submit", create);
  element("new-password").addEventListener("submit", changePassword);
  document.addEventListener("pointerdown", ({ target }) => {
    if (!target.closest("#account, #me, #sign-in")) toggle(false);
  });
}

/** Close the panel and give the focus back; false where it was not open. */
export function closeAccount() {
  if (element("account").hidden) return false;
  toggle(false);
  element("me").focus();
  return true;
}

function toggle(open) {
  if (element("account").hidden !== open) return;
  element("account").hidden = !open;
  element("me").setAttribute("aria-expanded", open);
  if (open) return refresh();
  element("secret").replaceChildren();
  element("new-password").reset();
  element("change-told").textContent = "";
  element("change").open = false;
}

async function refresh() {
  await Promise.all([limits(), keys()]);
}

async function read(address) {
  try {
    const response = await asked(address, { headers: { accept: "application/json" } });
    return await response.json();
  } catch {
    return null;
  }
}

/** Why there is nothing to show, in the server's own words where it said any. */
function refusal(told) {
  const { message, cure } = told?.error ?? {};
  return [message ?? WORDS.noServer, cure].filter(Boolean).join(" ");
}

// What is left

async function limits() {
  const told = await read("v1/limits");
  if (!told?.tier) return element("limits").replaceChildren(make("p", "soft", refusal(told)));
  element("account-tier").textContent = told.tier.title || told.tier.name;
  const rows = told.buckets.filter((bucket) => bucket.limits.length).map(bucketOf);
  element("limits").replaceChildren(...place(told.waiting), ...(rows.length ? rows : [make("p", "soft", WORDS.noLimits)]));
}

function place(waiting) {
  if (!waiting) return [];
  const line = make("p", "waits");
  line.append(make("b", "", WORDS.waits(waiting.title, count(waiting.place), count(waiting.of))), ` ${waiting.why}.`);
  return [line];
}

function bucketOf({ name, limits: rows }) {
  const part = make("section", "bucket");
  const list = make("ul");
  list.append(...rows.map(limitOf));
  part.append(make("h3", "", WORDS.buckets[name] ?? name), list);
  return part;
}

function limitOf({ measure, per, limit, used, left, resets_at: at, resets_in_s: seconds }) {
  const row = make("li", left > 0 ? "" : "spent");
  const what = WORDS.limitOf(WORDS.measures[measure] ?? measure, WORDS.periods[per] ?? per);
  const bar = make("progress");
  bar.max = limit;
  bar.value = Math.min(used, limit);
  const told = WORDS.leftOf(count(left), count(limit));
  bar.setAttribute("aria-label", `${what}: ${told}`);
  const when = used > 0 && at && seconds > 0 ? WORDS.resets(clock(at), span(seconds)) : "";
  row.append(make("span", "", what), make("span", "left", told), bar, make("span", "when", when));
  return row;
}

// Keys for programs

async function keys() {
  const told = await read("v1/keys");
  const rows = (told?.data ?? []).filter(({ revoked_at: gone }) => !gone).map(keyOf);
  element("keys").replaceChildren(...(rows.length ? rows : [make("li", "soft", WORDS.noKeys)]));
}

function keyOf({ id, name, redacted, used_at: used, expires_at: until }) {
  const row = make("li");
  const facts = [
    used ? WORDS.usedAt(clock(used)) : WORDS.neverUsed,
    until ? WORDS.validUntil(clock(until)) : "",
  ];
  const button = make("button", "", WORDS.revoke);
  button.type = "button";
  button.setAttribute("aria-label", WORDS.revokeKey(name));
  button.addEventListener("click", () => revoke(id, name, button));
  const about = make("span");
  about.append(make("b", "", name), " ", make("code", "", redacted));
  row.append(about, button, make("span", "when", facts.filter(Boolean).join(" · ")));
  return row;
}

/** The first click asks, the second one does it. */
async function revoke(id, name, button) {
  if (!button.dataset.sure) {
    button.dataset.sure = "1";
    button.textContent = WORDS.reallyRevoke;
    button.setAttribute("aria-label", `${WORDS.reallyRevoke} ${name}`);
    return;
  }
  const response = await asked(`v1/keys/${encodeURIComponent(id)}`, { method: "DELETE" }).catch(() => null);
  say(response?.ok ? WORDS.revoked(name) : WORDS.noServer);
  keys();
}

async function create(event) {
  event.preventDefault();
  const name = element("key-name").value.trim();
  const options = { method: "POST", headers: JSON_TYPE, body: JSON.stringify({ name }) };
  const response = await asked("v1/keys", options).catch(() => null);
  const said = response ? await response.json() : {};
  if (!response?.ok) return element("secret").replaceChildren(make("p", "wrong", said.error?.message || WORDS.noServer));
  element("key-name").value = "";
  const copy = make("button", "", WORDS.copy);
  copy.type = "button";
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(said.key);
    copy.textContent = WORDS.copied;
    say(WORDS.copied);
  });
  element("secret").replaceChildren(make("p", "", WORDS.shownOnce), make("code", "", said.key), copy);
  keys();
}

// The password

/** Neither password stays in the page, whatever comes of it. */
async function changePassword(event) {
  event.preventDefault();
  const body = JSON.stringify({ password: element("password-now").value, new: element("password-new").value });
  element("new-password").reset();
  const told = element("change-told");
  told.textContent = "";
  const options = { method: "POST", headers: JSON_TYPE, body };
  const response = await fetch("api/session/password", options).catch(() => null); // a 401 is of the password here
  const { error } = (await response?.json().catch(() => null)) ?? {};
  told.className = response?.ok ? "" : "wrong";
  told.textContent = response?.ok ? WORDS.passwordChanged : [error?.message, error?.cure].filter(Boolean).join(" ") || WORDS.noServer;
}
