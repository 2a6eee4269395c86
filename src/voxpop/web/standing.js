// Watches a question while the page is open: it shows each flip that the server tells, and ends the watch with the page's turn.

import { card, make } from "./cards.js";
import { asked } from "./session.js";
import { WORDS, say, timeElement } from "./words.js";

/** Watch the question of a turn; the button then ends the watch. */
export async function watchThis(turn, button) {
  if (turn.watch) return end(turn, button);
  button.disabled = true;
  try {
    const response = await asked("v1/watches", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ question: turn.question }),
    });
    const body = await response.json();
    if (!response.ok) return tell(turn, body.error?.message || WORDS.refused(response.status));
    follow(turn, body.id);
    button.textContent = WORDS.unwatch;
    tell(turn, WORDS.watching);
  } catch {
    tell(turn, WORDS.noServer);
  } finally {
    button.disabled = false;
  }
}

function follow(turn, id) {
  const stream = new EventSource(`v1/watches/${encodeURIComponent(id)}/events`);
  stream.addEventListener("flip", (event) => flip(turn, JSON.parse(event.data)));
  stream.addEventListener("end", () => stream.close());
  turn.watch = { id, stream };
}

function end(turn, button) {
  const { id, stream } = turn.watch;
  stream.close();
  fetch(`v1/watches/${encodeURIComponent(id)}`, { method: "DELETE" }).catch(() => {});
  turn.watch = null;
  button.textContent = WORDS.watch;
}

function flip(turn, { at, why, posts = [] }) {
  const box = make("section", "flip");
  const head = make("b", "", `${WORDS.flipped} `);
  head.append(timeElement(at));
  box.append(head, make("span", "reason", why));
  posts.filter(({ gone }) => !gone).forEach((post, i) => box.append(card({ ...post, n: i + 1 })));
  turn.element.append(box);
  say(`${WORDS.flipped}. ${why}`);
}

function tell(turn, text) {
  turn.told ??= turn.actions.appendChild(make("span", "told"));
  turn.told.textContent = text;
}
