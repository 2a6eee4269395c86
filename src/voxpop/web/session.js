// Signs in and asks as who is signed in: whatever is refused for want of a session waits until there is one; it keeps no password.

import { WORDS, say } from "./words.js";

const element = (id) => document.getElementById(id);
const JSON_TYPE = { "content-type": "application/json" };
let user = null;
let entering = null;
let signingUp = false;

/** Find out who is here, and ask for a sign-in where that is needed; `onUser` gets who it is. */
export async function enter(onUser) {
  const told = await current();
  if (told && !told.open && !told.user) await needed(told);
  else user = told?.user ?? null;
  if (user) onUser(user);
}

/** `fetch`, and where nobody is signed in any more the same again once somebody is. */
export async function asked(address, options) {
  const response = await fetch(address, options);
  if (response.status !== 401) return response;
  await needed(await current());
  return fetch(address, options);
}

/** Ask for a sign-in where there is none any more, such as when a stream was refused. */
export async function check() {
  const told = await current();
  if (told && !told.open && !told.user) await needed(told);
}

export async function signOut(everywhere) {
  await fetch(everywhere ? "api/session/all" : "api/session", { method: "DELETE" }).catch(() => null);
  location.replace("./"); // nothing of what was on the page stays
}

async function current() {
  const response = await fetch("api/session").catch(() => null);
  return response?.ok ? response.json() : null;
}

/** Show the sign-in until somebody has signed in; what was typed in the page stays there. */
function needed(told) {
  entering ??= new Promise((resolve) => {
    offer(told);
    element("sign-in").showModal();
    const done = ({ detail }) => {
      element("sign-in").removeEventListener("signed-in", done);
      entering = null;
      element("sign-in").close();
      if (user && user.id !== detail.id) return location.replace("./"); // another person: not the same page
      user = detail;
      say(WORDS.signedInAs(detail.name));
      dispatchEvent(new Event("online")); // what could not be reached until now can
      resolve();
    };
    element("sign-in").addEventListener("signed-in", done);
  });
  return entering;
}

function offer(told) {
  const provider = element("provider");
  provider.hidden = !told?.provider;
  provider.textContent = told?.provider ? WORDS.signInWith(told.provider) : "";
  const address = new URLSearchParams(location.search);
  const invited = new URLSearchParams(location.hash.slice(1)).get("invitation") ?? "";
  const may = told && (told.sign_up === "open" || (told.sign_up === "invited" && invited));
  element("join").hidden = !may;
  element("sign-in-form").dataset.invitation = invited;
  choose(Boolean(may && invited));
  tell(address.get("sign_in") ?? "");
}

function choose(joining) {
  signingUp = joining;
  element("enter").textContent = element("sign-in-title").textContent = joining ? WORDS.signUp : WORDS.signIn;
  element("join").textContent = joining ? WORDS.signInInstead : WORDS.signUpInstead;
  element("password").autocomplete = joining ? "new-password" : "current-password";
}

function tell(text) {
  element("sign-in-told").textContent = text;
  element("sign-in-told").hidden = !text;
}

async function submit(event) {
  event.preventDefault();
  const { invitation } = element("sign-in-form").dataset;
  const body = { name: element("name").value, password: element("password").value };
  if (signingUp && invitation) body.invitation = invitation;
  element("enter").disabled = true;
  tell("");
  try {
    const address = signingUp ? "api/session/sign-up" : "api/session";
    const response = await fetch(address, { method: "POST", headers: JSON_TYPE, body: JSON.stringify(body) });
    const said = await response.json();
    if (!response.ok) return tell([said.error?.message, said.error?.cure].filter(Boolean).join(" "));
    element("password").value = "";
    if (location.search.includes("sign_in=") || location.hash) history.replaceState(null, "", "./");
    element("sign-in").dispatchEvent(new CustomEvent("signed-in", { detail: said.user }));
  } catch {
    tell(WORDS.noServer);
  } finally {
    element("enter").disabled = false;
  }
}

element("sign-in-form").addEventListener("submit", submit);
element("join").addEventListener("click", () => choose(!signingUp));
// Esc closes a dialog the second time whatever one says: it opens again.
element("sign-in").addEventListener("cancel", (event) => event.preventDefault());
element("sign-in").addEventListener("close", () => entering && element("sign-in").showModal());
