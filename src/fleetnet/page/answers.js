// The pictures that were given, each with its answer, its times and its heat map.

import { element, milliseconds, percent } from "./elements.js";
import { Picture } from "./picture.js";

const AT_ONCE = 2;
export const MOST = 60;

/** One picture and what became of it. */
class Answer {
  constructor(file, number, asker) {
    this.file = file;
    this.asker = asker;
    this.name = file.name || `picture ${number}`;
    this.explanations = new Map();
    const title = element("h3", { id: `answer-${number}`, className: "name", tabIndex: -1 }, this.name);
    this.title = title;
    const canvas = element("canvas", { role: "img", "aria-label": this.name, width: 4, height: 3 });
    this.picture = new Picture(canvas);
    this.size = element("span", { className: "soft" });
    this.body = element("div", { className: "body" });
    const remove = element(
      "button", { type: "button", className: "quiet", "aria-label": `Remove ${this.name}` }, "Remove",
    );
    remove.addEventListener("click", () => asker.remove(this));
    this.figure = element("figure", {}, canvas);
    this.aside = element("div", { className: "heat" });
    this.article = element(
      "article", { "aria-labelledby": title.id },
      this.figure,
      element("div", { className: "told" },
        element("div", { className: "heading" }, element("div", {}, title, this.size), remove), this.body),
      this.aside,
    );
    this.item = element("li", {}, this.article);
  }

  async show() {
    if (await this.picture.read(this.file)) this.size.textContent = this.picture.size.join(" × ");
    else {
      this.figure.replaceChildren(element("p", { className: "no-picture soft" }, "No preview"));
    }
  }

  async ask() {
    this.stop();
    this.said = "";
    this.stopper = new AbortController();
    this.explanations.clear();
    this.picture.draw();
    this.wait("Asking …");
    const { model, version, limit } = this.asker.chosen();
    try {
      if (limit && this.file.size > limit) {
        throw new Error(`The file is larger than the ${limit.toLocaleString("en")} bytes that are taken.`);
      }
      const begun = performance.now();
      const given = await this.asker.api.classify(this.file, model, version, this.stopper.signal);
      this.tell(given, performance.now() - begun);
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
    }
  }

  stop() {
    this.stopper?.abort();
    this.explaining?.abort();
  }

  wait(text) {
    this.article.setAttribute("aria-busy", "true");
    this.aside.replaceChildren();
    this.body.replaceChildren(element("p", { className: "soft waiting" }, text));
  }

  fail(error) {
    this.article.removeAttribute("aria-busy");
    const again = element("button", { type: "button" }, "Try again");
    again.addEventListener("click", () => {
      this.title.focus(); // the button is about to go
      this.asker.askAgain([this]);
    });
    this.body.replaceChildren(element("p", { className: "wrong" }, error.message), again);
    this.said = `${this.name}: ${error.message}`;
  }

  tell(given, roundTrip) {
    const [first] = given.predictions;
    if (first.error !== null) {
      this.fail(new Error(first.error));
      return;
    }
    this.article.removeAttribute("aria-busy");
    this.given = given;
    const { model, version } = given;
    const source = element("p", { className: "source soft name" }, version ? `${model}, version ${version}` : model);
    const rejected = first.rejected ? [element("p", { className: "note" }, REJECTED)] : [];
    this.body.replaceChildren(...rejected, bars(first.top), times(given.timing, roundTrip, this.asker.api.words), source);
    if (this.asker.chosen().explains && this.picture.plain !== null) this.offerHeat(first.top);
    const [best] = first.top;
    const doubt = first.rejected ? `${REJECTED} ` : "";
    this.said = `${this.name}: ${doubt}${best.class}, ${percent(best.probability)}`;
  }

  offerHeat(top) {
    const button = element("button", { type: "button", "aria-pressed": "false" }, "Heat map");
    this.heat = element("div", { hidden: true });
    button.addEventListener("click", () => this.toggleHeat(button, top));
    this.aside.replaceChildren(button, this.heat);
  }

  toggleHeat(button, top) {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    this.heat.hidden = !on;
    this.explaining?.abort();
    if (!on) {
      this.picture.draw();
      return;
    }
    const choice = element(
      "select", {}, ...top.map((score) => element("option", { value: score.index }, score.class)),
    );
    this.sentence = element("p", { role: "status" });
    const scale = element(
      "p", { className: "scale soft" }, "little", element("span", { "aria-hidden": "true" }), "much",
    );
    this.heat.replaceChildren(element("label", {}, "What speaks for ", choice), scale, this.sentence);
    choice.addEventListener("change", () => this.explain(Number(choice.value)));
    this.explain(top[0].index);
  }

  async explain(index) {
    this.explaining?.abort();
    this.explaining = new AbortController();
    const { signal } = this.explaining;
    this.sentence.className = "soft waiting";
    this.sentence.textContent = "Hiding one place after another …";
    try {
      const found = this.explanations.get(index) ?? (await this.explanation(index, signal));
      this.explanations.set(index, found);
      this.picture.draw(found);
      this.sentence.className = "";
      this.sentence.textContent = sentenceOf(found);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.picture.draw();
      this.sentence.className = "wrong";
      this.sentence.textContent = error.message;
    }
  }

  /** Asks for a heat map; the server computes few at a time, so it may have to wait its turn. */
  async explanation(index, signal) {
    const { model, version } = this.given;
    for (let tries = 0; ; tries += 1) {
      try {
        return await this.asker.api.explain(this.file, model, version, index, signal);
      } catch (error) {
        if (error.status !== 429 || tries === 5) throw error;
        await new Promise((resolve) => setTimeout(resolve, 1000 * error.retryAfter));
        signal.throwIfAborted();
      }
    }
  }
}

/** All answers; `chosen()` says which model is asked, `announce` speaks to screen readers. */
export class Answers {
  #waiting = [];
  #running = 0;
  #said = [];
  #number = 0;
  #all = new Set();

  constructor({ list, section, api, chosen, announce }) {
    Object.assign(this, { list, section, api, chosen, announce });
  }

  get count() {
    return this.#all.size;
  }

  /** Adds files to the front, and says if there were too many. */
  add(files) {
    const taken = [...files].slice(0, MOST - this.#all.size);
    const made = taken.map((file) => new Answer(file, (this.#number += 1), this));
    this.list.prepend(...made.map((answer) => answer.item));
    made.forEach((answer) => this.#all.add(answer));
    this.section.hidden = this.#all.size === 0;
    this.askAgain(made);
    return taken.length;
  }

  askAgain(answers = [...this.#all]) {
    for (const answer of answers) {
      answer.wait("Waiting …");
      if (!this.#waiting.includes(answer)) this.#waiting.push(answer);
    }
    this.#next();
  }

  #next() {
    while (this.#running < AT_ONCE && this.#waiting.length > 0) this.#run(this.#waiting.shift());
  }

  async #run(answer) {
    this.#running += 1;
    try {
      if (answer.picture.plain === null) await answer.show();
      if (this.#all.has(answer)) await answer.ask();
    } finally {
      this.#running -= 1;
    }
    if (answer.said && this.#all.has(answer)) this.#said.push(answer.said);
    if (this.#running === 0 && this.#waiting.length === 0) this.announce(this.#said.splice(0).join(". "));
    this.#next();
  }

  remove(...answers) {
    for (const answer of answers) {
      answer.stop();
      answer.item.remove();
      this.#all.delete(answer);
      this.#waiting = this.#waiting.filter((other) => other !== answer);
    }
    this.section.hidden = this.#all.size === 0;
    const title = this.section.querySelector("h2");
    if (this.section.hidden) document.getElementById("choose").focus();
    else title.focus();
    this.announce(`Removed. ${this.#all.size} left.`);
  }

  clear() {
    this.remove(...this.#all);
  }
}

const REJECTED = "Rejected: the network is not certain enough for its answer to count.";

function bars(top) {
  const list = element("ol", { className: "bars" });
  for (const score of top) {
    const fill = element("span");
    fill.style.width = `${score.probability * 100}%`;
    list.append(
      element("li", {},
        element("span", { className: "name" }, score.class),
        element("span", { className: "number" }, percent(score.probability)),
        element("span", { className: "bar", "aria-hidden": "true" }, fill)),
    );
  }
  return list;
}

function times(timing, roundTrip, words = { rest: "On the way", all: "Round trip" }) {
  const rest = Math.max(roundTrip - timing.queue_ms - timing.decode_ms - timing.compute_ms, 0);
  const parts = [
    ["Waiting", timing.queue_ms, "queue"],
    ["Decoding", timing.decode_ms, "decode"],
    ["Computing", timing.compute_ms, "compute"],
    [words.rest, rest, "rest"],
  ];
  const strip = element("div", { className: "strip", "aria-hidden": "true" });
  const list = element("dl", { className: "times" });
  for (const [term, value, kind] of parts) {
    const part = element("span", { className: kind });
    part.style.flexGrow = String(value);
    strip.append(part);
    list.append(
      element("div", { className: kind }, element("dt", {}, term), element("dd", {}, milliseconds(value))),
    );
  }
  const all = element("dl", { className: "times" },
    element("div", {}, element("dt", {}, words.all), element("dd", {}, milliseconds(roundTrip))));
  return element("div", {}, all, strip, list);
}

function sentenceOf(found) {
  const [before, after] = [percent(found.probability), percent(found.lowest)];
  if (found.heat.every((row) => row.every((cell) => cell === 0))) {
    return "No single place speaks for this class: hiding one never makes it less probable.";
  }
  return `With the brightest place hidden, ${before} becomes ${after}. The network does not see the darkened edges.`;
}
