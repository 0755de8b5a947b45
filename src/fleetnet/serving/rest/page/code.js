// Client code to copy, with this server's address and the chosen model in it.

import { element } from "./elements.js";

const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function addressOf(model, version) {
  const asked = [["model", model], ["version", version]].filter(([, value]) => value);
  const words = new URLSearchParams(asked).toString();
  return `${location.origin}/classify${words && `?${words}`}`;
}

// Each writes lines for an address with its query, a model, a version, and whether there are tokens.
const LANGUAGES = {
  curl: ({ address, token }) => [
    "curl --data-binary @photo.jpg \\",
    ...(token ? ['  -H "Authorization: Bearer $FLEETNET_TOKEN" \\'] : []),
    `  ${shell(address)}`,
  ],
  "fleetnet.client": ({ model, version, token }) => [
    ...(token ? ["import os"] : []),
    "from fleetnet.client import Client",
    "",
    `with Client(${[
      JSON.stringify(location.origin),
      ...(token ? ['token=os.environ["FLEETNET_TOKEN"]'] : []),
    ].join(", ")}) as client:`,
    `    answer = client.classify(${[
      '"photo.jpg"',
      ...(model ? [`model=${JSON.stringify(model)}`] : []),
      ...(version ? [`version=${JSON.stringify(version)}`] : []),
    ].join(", ")})`,
    "for prediction in answer:",
    "    for score in prediction.top:",
    '        print(f"{score.probability:6.1%}  {score.label}")',
  ],
  Python: ({ address, token }) => [
    "import json",
    ...(token ? ["import os"] : []),
    "import urllib.request",
    "from pathlib import Path",
    "",
    "request = urllib.request.Request(",
    `    ${JSON.stringify(address)},`,
    '    Path("photo.jpg").read_bytes(),',
    token
      ? '    {"Content-Type": "image/jpeg", "Authorization": f"Bearer {os.environ[\'FLEETNET_TOKEN\']}"},'
      : '    {"Content-Type": "image/jpeg"},',
    ")",
    "with urllib.request.urlopen(request) as response:",
    '    (answer,) = json.load(response)["predictions"]',
    'for score in answer["top"]:',
    '    print(f"{score[\'probability\']:6.1%}  {score[\'class\']}")',
  ],
  JavaScript: ({ address, token }) => [
    'import { readFile } from "node:fs/promises";',
    "",
    `const response = await fetch(${JSON.stringify(address)}, {`,
    '  method: "POST",',
    token
      ? '  headers: { "content-type": "image/jpeg", authorization: `Bearer ${process.env.FLEETNET_TOKEN}` },'
      : '  headers: { "content-type": "image/jpeg" },',
    '  body: await readFile("photo.jpg"),',
    "});",
    "if (!response.ok) throw new Error((await response.json()).error);",
    "const { predictions: [answer] } = await response.json();",
    "for (const score of answer.top) {",
    "  console.log(`${(100 * score.probability).toFixed(1)}%  ${score.class}`);",
    "}",
  ],
};

/** Tabs of code; `show` writes it for a model. */
export class Code {
  #shown = "";

  constructor(place, announce) {
    this.code = element("code");
    const names = Object.keys(LANGUAGES);
    this.tabs = names.map((name) =>
      element("button", { type: "button", role: "tab", id: `tab-${name.replace(".", "-")}`, "aria-controls": "code-panel" }, name));
    const list = element("div", { role: "tablist", "aria-label": "Language", className: "tabs" }, ...this.tabs);
    const copy = element("button", { type: "button" }, "Copy");
    const panel = element("pre", { role: "tabpanel", id: "code-panel", tabIndex: 0 }, this.code);
    this.panel = panel;
    place.replaceChildren(element("div", { className: "heading" }, list, copy), panel);
    this.tabs.forEach((tab, place_) => {
      tab.addEventListener("click", () => this.choose(place_));
      tab.addEventListener("keydown", (event) => this.#move(event, place_));
    });
    copy.addEventListener("click", async () => announce(await this.#copied(copy)));
    this.asked = ["", "", false];
    this.choose(0);
  }

  show(model, version, token) {
    this.asked = [model, version, token];
    const asked = { address: addressOf(model, version), model, version, token };
    this.code.textContent = LANGUAGES[this.#shown](asked).join("\n");
  }

  choose(place) {
    this.tabs.forEach((tab, other) => {
      tab.setAttribute("aria-selected", String(other === place));
      tab.tabIndex = other === place ? 0 : -1;
    });
    this.#shown = this.tabs[place].textContent;
    this.panel.setAttribute("aria-labelledby", this.tabs[place].id);
    this.show(...this.asked);
  }

  #move(event, place) {
    const last = this.tabs.length - 1;
    const next = {
      ArrowRight: place === last ? 0 : place + 1, ArrowLeft: place === 0 ? last : place - 1,
      Home: 0, End: last,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    this.choose(next);
    this.tabs[next].focus();
  }

  /** Copies the code; where the page may not, it is marked, for a person to copy. */
  async #copied(button) {
    try {
      await navigator.clipboard.writeText(this.code.textContent);
    } catch {
      getSelection().selectAllChildren(this.code);
      return "The code is marked: copy it with the keyboard.";
    }
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
    return "Copied.";
  }
}
