// The playground: chooses a model, takes pictures, and shows what the server answers.

import { Answers, MOST } from "./answers.js";
import { Api } from "./api.js";
import { setUpCamera } from "./camera.js";
import { modelCard } from "./card.js";
import { Code } from "./code.js";
import { byId, element } from "./elements.js";

const WAIT = 1000; // milliseconds between two questions to a server that is not ready

const api = new Api(askForToken);
const code = new Code(byId("code-body"), announce);
const answers = new Answers({
  list: byId("answers"), section: byId("pictures"), api, announce,
  chosen: () => ({
    model: byId("model").value, version: byId("version").value,
    limit: card?.limits.body, explains: card?.explains ?? false,
  }),
});
let versions = new Map();
let card = null;

function announce(text) {
  byId("told").textContent = text;
}

function say(text) {
  byId("state").textContent = text;
  byId("state").hidden = text === "";
}

/** Resolves to what a person types; the token is kept by who asked, in memory alone. */
function askForToken(said) {
  const form = byId("token");
  const secret = byId("secret");
  form.hidden = false;
  if (said) byId("token-said").textContent = said;
  secret.focus();
  return new Promise((resolve) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const token = secret.value.trim();
      secret.value = "";
      form.hidden = true;
      byId("choose").focus();
      resolve(token);
    }, { once: true });
  });
}

/** Asks which models there are, until there is one. */
async function findModels() {
  for (;;) {
    try {
      const found = await api.models();
      if (found.length > 0) return showModels(found);
      say("No model is loaded.");
    } catch (error) {
      say(error.status === 503 ? "The server is loading its models." : error.message);
    }
    await new Promise((resolve) => setTimeout(resolve, WAIT));
  }
}

function showModels(found) {
  say("");
  for (const id of ["choice", "card"]) byId(id).hidden = false;
  versions = new Map();
  for (const { name, version } of found) versions.set(name, [...(versions.get(name) ?? []), version]);
  byId("model").replaceChildren(...[...versions.keys()].map((name) => element("option", { value: name }, name)));
  return chooseModel();
}

function chooseModel() {
  const known = versions.get(byId("model").value) ?? [];
  // Without a version the default answers, even after the one that was loaded first was replaced.
  const one = known.length === 1;
  byId("version").replaceChildren(
    element("option", { value: "" }, one ? known[0] : "the default"),
    ...(one ? [] : known.map((name) => element("option", { value: name }, name))),
  );
  return chooseVersion();
}

async function chooseVersion() {
  const [model, version] = [byId("model").value, byId("version").value];
  try {
    card = await api.card(model, version);
    if (model !== byId("model").value || version !== byId("version").value) return;
    byId("card-body").replaceChildren(...modelCard(card));
  } catch (error) {
    byId("card-body").replaceChildren(element("p", { className: "wrong" }, error.message));
  }
  code.show(versions.size > 1 || version ? model : "", version, api.hasToken);
}

function take(files) {
  const pictures = [...files];
  if (pictures.length === 0) {
    announce("There was no file in that.");
    return;
  }
  const taken = answers.add(pictures);
  byId("drop").classList.add("small");
  say(taken < pictures.length ? `At most ${MOST} pictures are shown: ${pictures.length - taken} were left out.` : "");
}

function setUpFiles() {
  byId("choose").addEventListener("click", () => byId("files").click());
  for (const id of ["files", "phone-camera"]) {
    byId(id).addEventListener("change", (event) => {
      take(event.target.files);
      event.target.value = "";
    });
  }
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length > 0) {
      event.preventDefault();
      take(event.clipboardData.files);
    }
  });
  let inside = 0;
  const over = (change) => {
    inside = Math.max(inside + change, 0);
    byId("drop").classList.toggle("over", inside > 0);
  };
  document.addEventListener("dragenter", () => over(1));
  document.addEventListener("dragleave", () => over(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(-Infinity);
    take(event.dataTransfer.files);
  });
}

byId("model").addEventListener("change", chooseModel);
byId("version").addEventListener("change", chooseVersion);
byId("again").addEventListener("click", () => answers.askAgain());
byId("clear").addEventListener("click", () => answers.clear());
setUpFiles();
setUpCamera(take);
findModels();
