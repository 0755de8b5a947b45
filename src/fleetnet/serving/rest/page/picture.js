// A picture on a canvas, and the heat over it.

const SIDE = 640; // pixels of the longer side that are kept
const STRENGTH = 0.65;
// Nine colours of the perceptual scale 'inferno', as `fleetnet explain` draws them.
const COLOURS = [
  [0, 0, 4], [31, 12, 72], [85, 15, 109], [136, 34, 106], [186, 54, 85],
  [227, 89, 51], [249, 140, 10], [249, 201, 50], [252, 255, 164],
];

export class Picture {
  /** `canvas` is drawn on; `size` is the upright picture's, once it is read. */
  constructor(canvas) {
    this.canvas = canvas;
    this.size = null;
    this.plain = null;
  }

  /** Reads a file; false if this browser cannot show its format. */
  async read(file) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    } catch {
      return false;
    }
    this.size = [bitmap.width, bitmap.height];
    const scale = Math.min(1, SIDE / Math.max(...this.size));
    const plain = new OffscreenCanvas(...this.size.map((side) => Math.max(1, Math.round(side * scale))));
    const pen = plain.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(bitmap, 0, 0, plain.width, plain.height);
    bitmap.close();
    this.plain = plain;
    this.canvas.width = plain.width;
    this.canvas.height = plain.height;
    this.draw();
    return true;
  }

  /** Draws the picture, with what an explanation found where there is one. */
  draw(explanation = null) {
    if (this.plain === null) return;
    const pen = this.canvas.getContext("2d");
    pen.drawImage(this.plain, 0, 0);
    if (explanation === null) return;
    const { left, top, right, bottom } = explanation.frame;
    const [width, height] = [this.canvas.width, this.canvas.height];
    const box = [left * width, top * height, (right - left) * width, (bottom - top) * height];
    pen.imageSmoothingQuality = "high";
    pen.drawImage(heatImage(explanation.heat), ...box);
    veil(pen, box, width, height);
  }
}

/** Darkens what the network does not see. */
function veil(pen, box, width, height) {
  pen.save();
  pen.beginPath();
  pen.rect(0, 0, width, height);
  pen.rect(...box);
  pen.fillStyle = "rgb(0 0 0 / 45%)";
  pen.fill("evenodd");
  pen.restore();
}

/** Returns the heat in colours that are clear where there is none, smooth between its cells. */
function heatImage(heat) {
  const grid = heat.length;
  const side = grid * 16;
  const image = new ImageData(side, side);
  for (let y = 0; y < side; y += 1) {
    for (let x = 0; x < side; x += 1) {
      const value = between(heat, (x + 0.5) / 16 - 0.5, (y + 0.5) / 16 - 0.5);
      image.data.set([...colour(value), 255 * STRENGTH * value], 4 * (y * side + x));
    }
  }
  const canvas = new OffscreenCanvas(side, side);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** Returns the heat between the middles of cells, with soft steps from one to the next. */
function between(heat, x, y) {
  const last = heat.length - 1;
  const [column, row] = [Math.floor(x), Math.floor(y)];
  const soft = (part) => part * part * (3 - 2 * part);
  const [across, down] = [soft(x - column), soft(y - row)];
  const at = (r, c) => heat[Math.min(Math.max(r, 0), last)][Math.min(Math.max(c, 0), last)];
  const upper = at(row, column) * (1 - across) + at(row, column + 1) * across;
  const lower = at(row + 1, column) * (1 - across) + at(row + 1, column + 1) * across;
  return upper * (1 - down) + lower * down;
}

function colour(value) {
  const place = Math.min(Math.max(value, 0), 1) * (COLOURS.length - 1);
  const first = Math.min(Math.floor(place), COLOURS.length - 2);
  const part = place - first;
  return COLOURS[first].map((channel, i) => channel + (COLOURS[first + 1][i] - channel) * part);
}
