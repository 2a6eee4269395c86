// Reads the event stream of one answer and draws it as it comes; it shows no sentence that the server has not sent whole.

import { because } from "./because.js";
import { card, chip, link, make, webAddress } from "./cards.js";
import { modelOf } from "./live.js";
import { watchThis } from "./standing.js";
import { WORDS, clock, count, isTime, now, say, secondsSince, span, timeElement } from "./words.js";

/** The events of a text/event-stream body, with their data parsed. */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      buffer += value;
      const blocks = buffer.split(/\r\n\r\n|\n\n|\r\r/);
      buffer = blocks.pop();
      for (const block of blocks) {
        const event = parse(block);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parse(block) {
  let name = "message";
  let id;
  const data = [];
  for (const line of block.split(/\r\n|\n|\r/)) {
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "event") name = value;
    if (field === "id") id = value;
    if (field === "data") data.push(value);
  }
  return data.length ? { name, id, data: JSON.parse(data.join("\n")) } : null;
}

const LAST = /[!-\u024f‘-”…]{1,20}$/u; // other letters can be as wide as the page
const OPENS = /[“«„「]/u;
const CLOSES = /[”»“」](?!.*[”»“」])/su;
const clockUtc = (time) => `${time.toISOString().slice(11, 16)} UTC`;

/** The characters of a text from `begin` to `end`; those within its quotation marks, a stranger's words, set apart. */
function quoting(text, begin, end) {
  const from = OPENS.exec(text)?.index ?? text.length;
  const to = (CLOSES.exec(text)?.index ?? -1) + 1;
  if (to <= from + 1) return [text.slice(begin, end)];
  const cut = (a, b) => text.slice(Math.max(a, begin), Math.max(Math.min(b, end), Math.max(a, begin)));
  return [cut(0, from), make("span", "quoted", cut(from, to)), cut(to, text.length)].filter((part) => part.textContent ?? part);
}

/** One question and its answer. `onAgain` is called when the reader asks for it again. */
export class Answer {
  constructor(question, onAgain) {
    this.question = question;
    this.begun = this.finished = false;
    this.pieces = [];
    this.citations = new Map();
    this.unsaid = "";
    this.onAgain = onAgain;
    this.element = make("article", "turn");
    this.element.dataset.state = "answering";
    const title = make("h2", "question", question);
    title.dir = "auto";
    this.steps = make("ul", "steps");
    this.body = make("div", "answer");
    this.withheld = make("details", "withheld");
    this.sources = make("section", "sources");
    this.receipt = make("p", "receipt");
    this.rests = make("details", "rests");
    this.actions = make("p", "actions");
    this.element.append(title, this.steps, this.body, this.withheld, this.receipt, this.rests, this.actions, this.sources);
    this.withheld.hidden = this.rests.hidden = this.sources.hidden = true;
    this.query = null;
    this.step(WORDS.searching(""));
  }

  /** What the model is told that it said: everything but the quip. */
  get text() {
    const said = this.pieces.filter(({ kind }) => kind !== "quip");
    return (said.length ? said : this.pieces).map(({ text }) => text.trim()).join(" ");
  }

  apply({ name, data }) {
    if (this.finished) return;
    const drawn = {
      searching: this.searching, found: this.found, citation: this.citation, text: this.write, withheld: this.hold,
      refused: this.refuse,
    };
    if (name === "done") this.done(data);
    else if (name === "error") this.fail(data.message, data.cure);
    else drawn[name]?.call(this, data);
  }

  searching({ query }) {
    if (this.query !== null) this.step("");
    this.query = query;
    this.steps.lastChild.firstChild.textContent = WORDS.searching(query);
  }

  found({ posts, newest, took_ms: took }) {
    const line = this.steps.lastChild;
    line.dataset.state = "done";
    const result = posts ? WORDS.posts(posts, count(posts)) : WORDS.noPosts;
    line.firstChild.textContent = WORDS.searched(this.query);
    line.append(make("span", "result", result));
    say(result);
    if (posts && isTime(newest)) {
      const time = timeElement(newest);
      delete time.dataset.at; // The age at the search: it does not grow.
      const age = make("span", "", `${WORDS.newest} `);
      age.append(time);
      line.append(age);
    }
    line.append(make("span", "", `${count(took)}\u00a0ms`));
    this.progress(posts ? WORDS.reading : WORDS.writing);
  }

  /** What goes on, where the receipt will stand. */
  progress(text) {
    this.receipt.replaceChildren(make("span", "progress", text));
  }

  step(text) {
    const line = make("li");
    line.append(make("span", "", text));
    this.steps.append(line);
    return line;
  }

  citation(data) {
    this.citations.set(data.n, data);
  }

  /** The rule of the policy under which the question is not answered, by its name. */
  refuse({ rule, title }) {
    this.settle();
    const box = make("p", "refusal");
    box.append(make("b", "", WORDS.refusedBy(title)), make("code", "", rule), make("span", "", WORDS.refusals));
    this.body.append(box);
    say(WORDS.refusedBy(title));
  }

  write(said) {
    const { text, citations = [], kind = "sentence" } = said;
    this.settle();
    const last = this.pieces.at(-1);
    if (kind === "chat" && last?.kind === "chat") last.text += text;
    else this.pieces.push({ text, citations, kind });
    if (kind === "chat") return this.chat(text);
    say(text);
    if (kind !== "sentence") return this.body.append(this.aside(text, kind));
    this.paragraph("prose").append(...this.sentence(said), " ");
  }

  /** A sentence with its chips and its "why", which no line break parts from its last word; what opens below it. */
  sentence(said) {
    const text = said.text.trim();
    const sentence = make("span", "sentence");
    sentence.dir = "auto";
    sentence.dataset.outcome = said.outcome ?? "shown";
    const last = LAST.exec(text)?.index ?? text.length;
    const end = make("span", "end");
    sentence.append(...quoting(text, 0, last), end);
    end.append(...quoting(text, last, text.length));
    const cited = said.citations.map((n) => this.citations.get(n)).filter(Boolean);
    for (const one of cited) {
      end.append(chip(one, text));
      this.list(one, sentence);
    }
    if (!said.outcome) return [sentence];
    const [button, box] = because(said, cited);
    end.append(button);
    return [sentence, box];
  }

  chat(text) {
    this.paragraph("chat").append(text);
    this.unsaid += text;
    const whole = /^.*[.!?…]["”»)]*(?=\s|$)/su.exec(this.unsaid)?.[0];
    if (whole) this.announce(whole.length);
  }

  announce(length) {
    if (this.unsaid.slice(0, length).trim()) say(this.unsaid.slice(0, length).trim());
    this.unsaid = this.unsaid.slice(length);
  }

  aside(text, kind) {
    const line = make("p", kind);
    line.dir = "auto";
    if (kind === "notice") {
      line.append(make("span", "sign", "i"));
      line.firstChild.setAttribute("aria-hidden", "true");
      line.append(make("span", "unseen", WORDS.ours));
    }
    line.append(make("span", "", text));
    return line;
  }

  /** The paragraph that is being written: sentences follow each other in it until something else comes between. */
  paragraph(className) {
    if (this.body.lastElementChild?.className === className) return this.body.lastElementChild;
    const paragraph = make("div", className);
    paragraph.dir = "auto";
    this.body.append(paragraph);
    return paragraph;
  }

  list(cited, sentence) {
    if (this.sources.hidden) {
      this.sources.append(make("h3", "", WORDS.sources), make("ol"));
      this.sources.hidden = false;
    }
    const known = this.sources.querySelector(`li[data-n="${Number(cited.n)}"]`);
    const item = known ?? make("li");
    if (!known) {
      item.dataset.n = cited.n;
      item.append(card(cited));
      const after = [...this.sources.lastChild.children].find((other) => Number(other.dataset.n) > cited.n);
      this.sources.lastChild.insertBefore(item, after ?? null);
    }
    item.addEventListener("pointerenter", () => sentence.classList.add("lit"));
    item.addEventListener("pointerleave", () => sentence.classList.remove("lit"));
  }

  hold({ text, reason }) {
    const held = this.withheld;
    if (held.hidden) held.append(make("summary"), make("ul"));
    held.hidden = false;
    const item = make("li");
    const words = make("q", "", text);
    words.dir = "auto";
    item.append(words, make("span", "", reason));
    held.lastChild.append(item);
    held.firstChild.textContent = WORDS.withheld(held.lastChild.childElementCount);
  }

  done({ id, reason, answerable, engine, model, voice, freshness = {}, timings = {}, receipt = {} }) {
    const parts = [];
    if (reason === "cancelled") parts.push([WORDS.stopped, "bad"]);
    if (reason === "length") parts.push([WORDS.cut, "bad"]);
    const age = secondsSince(freshness.newest);
    if (!Number.isNaN(age)) parts.push([WORDS.evidence(span(age < 1 ? age : Math.floor(age))), age > 600 ? "old" : ""]);
    else parts.push([WORDS.noEvidence, ""]);
    const lag = freshness.stream_lag_s;
    if (typeof lag === "number") parts.push([WORDS.streamLag(span(lag)), lag > 15 ? "old" : ""]);
    if (freshness.behind_s >= 60) parts.push([WORDS.catchingUp(span(freshness.behind_s)), "old"]);
    for (const name of receipt.sources_down ?? []) parts.push([WORDS.isDown(name), "old"]);
    for (const { source, since, until, why } of freshness.gaps || []) {
      parts.push([WORDS.gap(source, clock(since), clock(until), why), "old"]);
    }
    if (typeof timings.total_ms === "number") parts.push([`${count(timings.total_ms)}\u00a0ms`, ""]);
    if (engine) parts.push([WORDS.engine(engine, model ?? modelOf(engine)), ""]);
    if (voice) parts.push([WORDS.voiceUsed(voice), ""]);
    if (freshness.simulated) parts.push([WORDS.simulatedShort, "old"]);
    if (!answerable && !this.pieces.length) this.body.append(this.aside(WORDS.unanswered, "notice"));
    if (receipt.result) this.body.prepend(this.result(receipt.result));
    this.rest(id, receipt, freshness);
    this.end("done", parts);
  }

  /** Whether a listed authority has declared what is asked for, at this moment. */
  result(result) {
    const line = make("p", "result-line", WORDS.result[result]?.(clockUtc(now())) ?? result);
    line.dataset.result = result;
    return line;
  }

  /** What the answer rests on, in full, where a reader asks for it. */
  rest(id, { searched = [], posts, independent_authors: authors }, { newest, oldest }) {
    const rows = [...searched.map((words) => [WORDS.lookedFor, words])];
    if (posts) rows.push([WORDS.restsOn, WORDS.crowd(count(posts), count(authors))]);
    if (isTime(newest)) rows.push([WORDS.newestEvidence, clock(newest)]);
    if (isTime(oldest)) rows.push([WORDS.oldestEvidence, clock(oldest)]);
    if (!rows.length && !id) return;
    const list = make("dl");
    for (const [name, value] of rows) list.append(make("dt", "", name), make("dd", "", value));
    if (id) {
      const own = make("a", "", id);
      own.href = `./?answer=${encodeURIComponent(id)}`;
      const held = make("dd");
      held.append(own);
      list.append(make("dt", "", WORDS.answerId), held);
    }
    this.rests.replaceChildren(make("summary", "", WORDS.rests), list);
    this.rests.hidden = false;
  }

  /** The reader stopped the answer: what came stays. */
  stop() {
    this.end("stopped", [[WORDS.stopped, "bad"]]);
  }

  /** No answer, or no more of it: say why and what to do; what came stays. */
  fail(message, cure = "") {
    const box = make("p", "failure");
    box.setAttribute("role", "alert");
    box.append(make("b", "", this.pieces.length ? WORDS.interrupted : WORDS.error), make("span", "", message));
    if (cure) box.append(make("span", "cure", cure));
    this.body.append(box);
    this.end("failed", []);
  }

  end(state, parts) {
    if (this.finished) return;
    this.finished = true;
    this.settle();
    this.announce(this.unsaid.length);
    this.element.dataset.state = state;
    this.receipt.replaceChildren();
    for (const [text, tone] of parts) this.receipt.append(make("span", tone, text));
    if (this.pieces.length) this.actions.append(this.action(WORDS.copy, (button) => this.copy(button)));
    this.actions.append(this.action(WORDS.again, () => this.onAgain(this)));
    if (this.citations.size) this.actions.append(this.action(WORDS.watch, (button) => watchThis(this, button)));
  }

  /** The first piece of the answer, or its end, ends the steps; a search that never began leaves none. */
  settle() {
    if (this.query === null) this.steps.replaceChildren();
    for (const line of this.steps.children) line.dataset.state = "done";
    if (!this.receipt.firstChild) this.progress(WORDS.writing);
  }

  action(text, then) {
    const button = make("button", "", text);
    button.type = "button";
    button.addEventListener("click", () => then(button));
    return button;
  }

  /** Copy the answer as text and as HTML, each citation a link. The copy event works without https too. */
  copy(button) {
    const lines = [this.question];
    const page = make("div");
    page.append(make("h2", "", this.question));
    for (const { text, citations } of this.pieces) {
      const paragraph = make("p", "", text);
      const cited = citations.map((n) => this.citations.get(n)).filter(Boolean);
      const marks = cited.map(({ n, url }) => ({ mark: `[${n}]`, address: webAddress(url) }));
      for (const { mark, address } of marks) paragraph.append(" ", address ? link(address, mark) : mark);
      lines.push([text, ...marks.map(({ mark, address }) => (address ? `${mark}(${address})` : mark))].join(" "));
      page.append(paragraph);
    }
    const fill = (event) => {
      event.preventDefault();
      event.clipboardData.setData("text/plain", lines.join("\n\n"));
      event.clipboardData.setData("text/html", page.innerHTML);
    };
    document.addEventListener("copy", fill, { once: true });
    const copied = document.execCommand("copy");
    document.removeEventListener("copy", fill);
    if (!copied) return;
    button.textContent = WORDS.copied;
    say(WORDS.copied);
    setTimeout(() => (button.textContent = WORDS.copy), 1600);
  }
}
