// Files that are chosen, dropped or pasted.

import { byId } from "./elements.js";

/** Gives `take` whatever files a person chooses, drops or pastes. */
export function setUpFiles(take) {
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
