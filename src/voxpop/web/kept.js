// Opens a kept answer as it stands now: what no longer holds is struck through with the reason, and nothing is mended.

import { Answer } from "./answer.js";
import { card, make } from "./cards.js";
import { asked } from "./session.js";
import { WORDS, clock, count, isTime, say } from "./words.js";

const address = (id) => `v1/answers/${encodeURIComponent(id)}`;

/** The kept answer `id`, drawn into `place`; `onAgain` asks its question anew. */
export async function openKept(id, place, onAgain) {
  const turn = new Answer("", onAgain);
  place.append(turn.element);
  try {
    const response = await asked(address(id), { headers: { accept: "application/json" } });
    const body = await response.json();
    if (!response.ok) return turn.fail(body.error?.message || WORDS.refused(response.status), body.error?.cure);
    draw(turn, body);
  } catch {
    turn.fail(WORDS.noServer, WORDS.noServerCure);
  }
  return turn;
}

function draw(turn, kept) {
  turn.question = kept.question;
  turn.element.classList.add("kept");
  turn.element.querySelector(".question").textContent = kept.question;
  document.title = `${kept.question} · voxpop`;
  const broken = kept.texts.filter(({ state }) => state !== "holds").length;
  const when = isTime(kept.asked_at) ? WORDS.keptFrom(clock(kept.asked_at)) : "";
  const verdict = broken ? WORDS.nowFails(broken, count(broken)) : WORDS.stillHolds;
  turn.body.append(turn.aside([when, verdict].filter(Boolean).join(" "), "notice"));
  for (const citation of kept.citations) turn.apply({ name: "citation", data: citation });
  for (const text of kept.texts) {
    if (text.state === "holds") turn.apply({ name: "text", data: text });
    else struck(turn, text);
  }
  for (const held of kept.withheld) turn.apply({ name: "withheld", data: held });
  turn.apply({ name: "done", data: { ...(kept.done ?? ended(kept)), model: kept.engine?.model ?? "" } });
  turn.actions.prepend(turn.action(WORDS.remake, (button) => remake(turn, kept.id, button)));
  say(verdict);
}

/** The end of an answer of which a post is missing: what can still be told. */
function ended({ id, engine, voice, citations }) {
  const seen = citations.map(({ witnessed_at: at }) => at).sort();
  return { id, answerable: true, engine: engine?.name, voice, freshness: { newest: seen.at(-1), oldest: seen[0] } };
}

/** A piece that no longer holds: what it said, where that may still be shown, and why not. */
function struck(turn, { text, state, why_not: why, by }) {
  const row = make("div", "struck");
  row.dataset.state = state;
  const said = text ? make("s", "", text) : make("em", "", WORDS.textGone);
  said.dir = "auto";
  row.append(said, make("b", "", WORDS.states[state] ?? state), make("span", "reason", why));
  if (by) row.append(card(by));
  turn.body.append(row);
}

/** Make it again from what is stored, and say whether it comes out the same, byte for byte. */
async function remake(turn, id, button) {
  button.disabled = true;
  try {
    const response = await asked(`${address(id)}/reproduce`, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" });
    const body = await response.json();
    if (!response.ok) return turn.body.append(turn.aside(body.error?.message || WORDS.refused(response.status), "notice"));
    const told = make("div", "remade");
    told.append(make("b", "", body.identical ? WORDS.identical : WORDS.differs));
    for (const why of body.why ?? []) told.append(make("span", "reason", why));
    if (body.diff?.length) told.append(make("pre", "", body.diff.join("\n")));
    turn.body.append(told);
    say(told.firstChild.textContent);
  } catch {
    turn.body.append(turn.aside(WORDS.noServer, "notice"));
  } finally {
    button.disabled = false;
  }
}
