// Tells, where a reader asks, why a sentence is there: its outcome, the server's reason, and what each cited post is.

import { authorName, make, peopleOf, toneOf } from "./cards.js";
import { WORDS, count } from "./words.js";

let numbered = 0;

/** A button after a sentence, and the disclosure under it that the button opens. */
export function because({ outcome = "shown", why = "", support }, cited) {
  const box = make("span", "because");
  box.id = `because-${(numbered += 1)}`;
  box.hidden = true;
  const button = make("button", "why", WORDS.why);
  button.type = "button";
  button.setAttribute("aria-expanded", "false");
  button.setAttribute("aria-controls", box.id);
  button.addEventListener("click", () => {
    box.hidden = !box.hidden;
    button.setAttribute("aria-expanded", String(!box.hidden));
  });
  box.append(make("b", "", WORDS.outcome[outcome] ?? outcome));
  if (why) box.append(line(why));
  if (typeof support === "number") box.append(line(WORDS.support(count(100 * support))));
  box.append(...cited.map(post));
  return [button, box];
}

function post(citation) {
  const row = make("span", "rest");
  const parts = [peopleOf(citation)];
  if (citation.tone) parts.push(toneOf(citation));
  const { duplicates = 1, independent_authors: authors = 1, why = [] } = citation;
  if (duplicates > 1) parts.push(WORDS.crowd(count(duplicates), count(authors)));
  const name = make("bdi", "", authorName(citation) || "?");
  row.append(make("span", "number", String(citation.n)), " ", name, ` · ${parts.join(" · ")}`);
  for (const reason of why) row.append(line(reason));
  return row;
}

function line(text) {
  const row = make("span", "reason", text);
  row.dir = "auto";
  return row;
}
