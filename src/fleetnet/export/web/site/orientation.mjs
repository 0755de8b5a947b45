// EXIF orientation: reading it, and turning pixels upright.

const TAG = 0x0112;

/** Returns the orientation, 1 to 8, that EXIF's own bytes (a TIFF header and what follows) say. */
export function orientationOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    const little = view.getUint16(0) === 0x4949;
    if (!little && view.getUint16(0) !== 0x4d4d) return 1;
    const start = view.getUint32(4, little);
    const entries = view.getUint16(start, little);
    for (let entry = 0; entry < entries; entry += 1) {
      const place = start + 2 + 12 * entry;
      if (view.getUint16(place, little) !== TAG) continue;
      const value = view.getUint16(place + 8, little);
      return value >= 1 && value <= 8 ? value : 1;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // cut off: as if there were none
  }
  return 1;
}

/** Returns an RGB picture `{data, width, height}` upright. */
export function upright(picture, orientation) {
  if (orientation === 1) return picture;
  const sideways = orientation >= 5;
  const mirrored = [2, 3, 6, 7].includes(orientation);
  const upsideDown = [3, 4, 7, 8].includes(orientation);
  const { data } = picture;
  const [width, height] = sideways ? [picture.height, picture.width] : [picture.width, picture.height];
  const turned = new Uint8Array(data.length);
  for (let row = 0, to = 0; row < height; row += 1) {
    const y = upsideDown ? height - 1 - row : row;
    for (let column = 0; column < width; column += 1, to += 3) {
      const x = mirrored ? width - 1 - column : column;
      const from = 3 * (sideways ? x * picture.width + y : y * picture.width + x);
      turned[to] = data[from];
      turned[to + 1] = data[from + 1];
      turned[to + 2] = data[from + 2];
    }
  }
  return { data: turned, width, height };
}
