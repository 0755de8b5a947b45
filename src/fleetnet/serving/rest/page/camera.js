// Photographs: by the camera in the page, or by the phone's own where the page may not use it.

import { byId } from "./elements.js";

/** Lets a button take pictures, which go to `take`; hides it where there is no camera to use. */
export function setUpCamera(take) {
  const button = byId("photograph");
  const inPage = window.isSecureContext && navigator.mediaDevices?.getUserMedia !== undefined;
  const byPhone = matchMedia("(pointer: coarse)").matches;
  if (inPage) button.addEventListener("click", open);
  else if (byPhone) button.addEventListener("click", () => byId("phone-camera").click());
  button.hidden = !(inPage || byPhone);

  const dialog = byId("camera");
  const film = byId("film");
  const said = byId("camera-said");
  let stream = null;

  async function open() {
    said.textContent = "Waiting for the camera …";
    byId("shoot").disabled = true;
    dialog.showModal();
    try {
      const video = { facingMode: "environment", width: { ideal: 1920 } };
      const opened = await navigator.mediaDevices.getUserMedia({ video });
      if (!dialog.open) {
        opened.getTracks().forEach((track) => track.stop());
        return;
      }
      stream = film.srcObject = opened;
      await film.play();
      said.textContent = "";
      byId("shoot").disabled = false;
      byId("shoot").focus();
    } catch {
      said.textContent = "There is no camera, or this page may not use it.";
    }
  }

  byId("shoot").addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [film.videoWidth, film.videoHeight];
    canvas.getContext("2d").drawImage(film, 0, 0);
    canvas.toBlob((blob) => {
      const time = new Date().toTimeString().slice(0, 8);
      if (blob) take([new File([blob], `photograph ${time}`, { type: blob.type })]);
      dialog.close();
    }, "image/jpeg", 0.92);
  });
  byId("camera-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    stream?.getTracks().forEach((track) => track.stop());
    film.srcObject = stream = null;
  });
}
