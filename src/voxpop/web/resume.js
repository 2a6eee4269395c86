// Reads one answer to its end, also across cut connections; it asks no question twice, and stops what nobody reads.

import { events } from "./answer.js";

const PAUSES_MS = [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000];

/** The events of the answer that a response begins. After a cut the server is asked for what came since. */
export async function* toTheEnd(response, signal) {
  const id = response.headers.get("x-voxpop-stream");
  const address = `v1/streams/${id}`;
  const leave = () => fetch(address, { method: "DELETE", keepalive: true }).catch(() => {});
  if (id) {
    signal.addEventListener("abort", leave);
    addEventListener("pagehide", leave);
  }
  let seen = 0;
  try {
    for (let cuts = 0; response; response = await again(address, seen, signal, cuts++)) {
      try {
        for await (const event of events(response.body)) {
          seen = event.id ?? seen;
          cuts = 0;
          yield event;
        }
        return;
      } catch (error) {
        if (!id || signal.aborted) throw error;
      }
    }
  } finally {
    signal.removeEventListener("abort", leave);
    removeEventListener("pagehide", leave);
  }
}

/** What the server has of the answer since then; null where it has no more of it, or is gone for long. */
async function again(address, seen, signal, cuts) {
  for (const pause of PAUSES_MS.slice(cuts)) {
    await new Promise((ready) => setTimeout(ready, pause));
    signal.throwIfAborted();
    const response = await fetch(`${address}?after=${seen}`, { signal }).catch(() => null);
    if (response?.ok) return response;
    if (response && response.status < 500) return null;
  }
  return null;
}
