// The page that needs no server: takes pictures, and shows what its own network answers.

import { Answers, MOST } from "./answers.js";
import { setUpCamera } from "./camera.js";
import { modelCard } from "./card.js";
import { byId } from "./elements.js";
import { inlineFiles } from "./inline.js";
import { LocalApi } from "./local.js";
import { setUpFiles } from "./taking.js";

const inline = document.getElementById("file-worker.mjs") !== null;
const api = new LocalApi(inline);
const answers = new Answers({
  list: byId("answers"), section: byId("pictures"), api, announce,
  chosen: () => ({ model: api.name, version: "", explains: true }),
});

function announce(text) {
  byId("told").textContent = text;
}

function say(text) {
  byId("state").textContent = text;
  byId("state").hidden = text === "";
}

function take(files) {
  const pictures = [...files];
  if (pictures.length === 0) {
    announce("There was no file in that.");
    return;
  }
  const taken = answers.add(pictures);
  byId("drop").classList.add("small");
  if (taken < pictures.length) say(`At most ${MOST} pictures are shown: ${pictures.length - taken} were left out.`);
}

async function open() {
  try {
    const { manifest, engine } = await api.open(inline ? await inlineFiles() : null);
    say("");
    byId("engine").textContent = `Computed here by ${told(engine)}.`;
    byId("card-body").replaceChildren(...modelCard(cardOf(manifest, engine)));
    byId("card").hidden = false;
  } catch (error) {
    byId("state").classList.add("wrong");
    say(`The network cannot be used: ${error.message}`);
  }
}

function told({ name, threads, simd }) {
  const more = name === "WebGPU" ? "" : `, ${threads === 1 ? "one thread" : `${threads} threads`}${simd ? ", SIMD" : ""}`;
  return `${name}${more}`;
}

/** Returns the manifest as the model card takes it. */
function cardOf(manifest, engine) {
  const { model, classes, preprocess, calibration, metrics, provenance, artifacts } = manifest;
  const device = engine.name === "WebGPU" ? "the graphics processor" : "cpu";
  const { precision } = artifacts[0];
  return {
    model: model.name, classes, activation: model.activation ?? "softmax", preprocess,
    engine: { name: "onnxruntime-web", threads: engine.threads, device, precision },
    calibration, metrics: metrics ?? {}, provenance, artifacts,
  };
}

/** Keeps the page for the time without a network, where the browser lets it. */
function keep() {
  if (!inline && "serviceWorker" in navigator && window.isSecureContext) {
    navigator.serviceWorker.register("sw.js", { type: "module" }).catch((error) => console.warn(error.message));
  }
}

byId("again").addEventListener("click", () => answers.askAgain());
byId("clear").addEventListener("click", () => answers.clear());
setUpFiles(take);
setUpCamera(take);
open().then(keep);
