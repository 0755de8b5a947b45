// Pictures of every kind that a browser has, as pixels that are those of Python.

import { decodedGif } from "./gif.mjs";
import { checkedJpeg } from "./jpeg.mjs";
import { decodedPng } from "./png.mjs";

export const MAX_PIXELS = 89_478_485; // as everywhere in Fleetnet
const STRIP = 1 << 22; // pixels that are read at once: phones refuse large canvases
const AS_STORED = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };

const text = (bytes, from, to) => String.fromCharCode(...bytes.subarray(from, to));
const KINDS = [
  ["image/png", (bytes) => text(bytes, 0, 8) === "\x89PNG\r\n\x1a\n"],
  ["image/jpeg", (bytes) => text(bytes, 0, 3) === "\xff\xd8\xff"],
  ["image/gif", (bytes) => /^GIF8[79]a$/.test(text(bytes, 0, 6))],
  ["image/webp", (bytes) => text(bytes, 0, 4) === "RIFF" && text(bytes, 8, 12) === "WEBP"],
  ["image/bmp", (bytes) => text(bytes, 0, 2) === "BM"],
  ["image/avif", (bytes) => /^ftypavi[fs]$/.test(text(bytes, 4, 12))],
  ["image/heic", (bytes) => /^ftyp(hei|hev|mif1|msf1)/.test(text(bytes, 4, 12))],
  ["TIFF", (bytes) => /^(II\*\0|MM\0\*)$/.test(text(bytes, 0, 4))],
  ["JPEG 2000", (bytes) => text(bytes, 4, 8) === "jP  " || text(bytes, 0, 4) === "\xff\x4f\xff\x51"],
  ["JPEG XL", (bytes) => text(bytes, 0, 2) === "\xff\x0a" || text(bytes, 4, 8) === "JXL "],
  ["an icon", (bytes) => text(bytes, 0, 4) === "\0\0\x01\0"],
];

/** Returns `{data, width, height}`, upright, in RGB or in RGBA whose alpha is to be dropped. */
export async function pictureOf(source, { sampleBits = null, maxPixels = MAX_PIXELS } = {}) {
  if (is(source, "Blob") || source instanceof Uint8Array || source instanceof ArrayBuffer) {
    const bytes = is(source, "Blob") ? new Uint8Array(await source.arrayBuffer()) : new Uint8Array(source);
    return decoded(bytes, { sampleBits, maxPixels });
  }
  if (source?.data !== undefined) return checkedPixels(source, maxPixels);
  const [width, height] = sizeOf(source);
  if (!(width > 0 && height > 0)) {
    throw new TypeError("give a Blob, an image that is loaded, a canvas, a video, an ImageBitmap or pixels");
  }
  checkSize(width, height, maxPixels);
  return drawn(source, width, height);
}

async function decoded(bytes, { sampleBits, maxPixels }) {
  const kind = KINDS.find(([, begins]) => begins(bytes))?.[0];
  if (kind === undefined) throw new Error("not an image in a known format");
  if (kind === "image/png") return decodedPng(bytes, { sampleBits, maxPixels });
  if (kind === "image/gif") return decodedGif(bytes, { maxPixels });
  if (!kind.startsWith("image/")) throw new Error(`browsers do not read ${kind}: save the image as PNG or JPEG`);
  if (typeof createImageBitmap !== "function") {
    throw new Error(`${kind} is not decoded here: decode it, and give {data, width, height} in RGB`);
  }
  if (kind === "image/jpeg") {
    const { width, height } = checkedJpeg(bytes);
    checkSize(width, height, maxPixels);
  }
  let bitmap;
  try {
    bitmap = await createImageBitmap(new Blob([bytes], { type: kind }), AS_STORED);
  } catch {
    throw new Error(`this ${kind.slice(6).toUpperCase()} file is damaged, or this browser does not read the format`);
  }
  try {
    checkSize(bitmap.width, bitmap.height, maxPixels);
    const alpha = kind !== "image/jpeg" && kind !== "image/bmp";
    return (alpha && beneathAlpha(bitmap)) || drawn(bitmap, bitmap.width, bitmap.height);
  } finally {
    bitmap.close();
  }
}

/** Draws what a browser holds, and returns its pixels in RGB. */
function drawn(source, width, height) {
  const data = new Uint8Array(3 * width * height);
  const high = Math.max(1, Math.min(height, Math.floor(STRIP / width)));
  const pen = new OffscreenCanvas(width, high).getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  for (let top = 0, to = 0; top < height; top += high) {
    pen.clearRect(0, 0, width, high);
    pen.drawImage(source, 0, -top);
    const strip = pen.getImageData(0, 0, width, Math.min(high, height - top)).data;
    for (let from = 0; from < strip.length; from += 4, to += 3) {
      data[to] = strip[from];
      data[to + 1] = strip[from + 1];
      data[to + 2] = strip[from + 2];
    }
  }
  return { data, width, height };
}

/** Returns RGBA with the colours beneath the alpha, which a canvas in 2D loses; null without WebGL. */
function beneathAlpha(bitmap) {
  const { width, height } = bitmap;
  const gl = new OffscreenCanvas(1, 1).getContext("webgl");
  if (gl === null || Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return null;
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
  gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  if (gl.checkFramebufferStatus(gl.FRAMEBUFFER) !== gl.FRAMEBUFFER_COMPLETE) return null;
  const data = new Uint8Array(4 * width * height);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, data);
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return { data, width, height };
}

function checkedPixels({ data, width, height }, maxPixels) {
  const whole = Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0;
  if (!whole) throw new TypeError(`a picture of ${width}×${height} pixels is none`);
  checkSize(width, height, maxPixels);
  if (!(data instanceof Uint8Array || data instanceof Uint8ClampedArray)) {
    throw new TypeError("data must be a Uint8Array or Uint8ClampedArray, in RGB or RGBA");
  }
  if (data.length !== 3 * width * height && data.length !== 4 * width * height) {
    throw new TypeError(`${data.length} bytes are no picture of ${width}×${height} in RGB or RGBA`);
  }
  return { data, width, height };
}

function checkSize(width, height, maxPixels) {
  if (width * height > maxPixels) throw new Error(`${width}×${height} is more than ${maxPixels} pixels`);
}

/** Returns the size of an image, a video, a frame of one, or whatever has a size. */
function sizeOf(source) {
  const width = source?.naturalWidth ?? source?.videoWidth ?? source?.displayWidth ?? source?.width;
  const height = source?.naturalHeight ?? source?.videoHeight ?? source?.displayHeight ?? source?.height;
  return [Number(width), Number(height)];
}

/** Tells whether a value is of a class that may not be there. */
const is = (value, name) => typeof globalThis[name] === "function" && value instanceof globalThis[name];
