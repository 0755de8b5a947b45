/** RGB or RGBA, a byte a channel, row after row; alpha is dropped, not blended. */
export interface Pixels {
  data: Uint8Array | Uint8ClampedArray;
  width: number;
  height: number;
}

/**
 * What can be classified. Of a `Blob` or of bytes, an encoded image, the pixels are those of Python;
 * other kinds are taken as the browser has decoded them. Node.js decodes PNG and GIF; of other files
 * give the pixels.
 */
export type Source =
  | Blob | Uint8Array | ArrayBuffer | Pixels | ImageData | ImageBitmap | VideoFrame
  | HTMLImageElement | HTMLCanvasElement | HTMLVideoElement | OffscreenCanvas;

export interface OpenOptions {
  /** `auto` takes WebGPU where it answers as the trained network does and is faster. */
  engine?: "auto" | "wasm" | "webgpu";
  /** Of WebAssembly; more than one takes a page that is isolated from others. */
  threads?: number;
  /** Another module with the interface of ONNX Runtime for JavaScript, such as `onnxruntime-node`. */
  ort?: unknown;
  /** The precision of the graph, where a bundle has several. */
  precision?: "fp32" | "int8";
  /** The most pixels that a picture may have; 89,478,485 unless less is said. */
  maxPixels?: number;
  /** Where the files of onnxruntime-web are; beside the module unless said. */
  base?: string | URL;
}

export interface ClassifyOptions {
  /** How many classes to return, the most probable first; 5 unless said. */
  topK?: number;
  /** True for a heat map of the first class, or a class's index for one of that. */
  heatMap?: boolean | number;
  signal?: AbortSignal;
}

export interface Prediction {
  index: number;
  class: string;
  probability: number;
}

/** How much each place of the picture speaks for a class. */
export interface HeatMap {
  index: number;
  /** Rows of shares from 0 to 1, over the part of the picture that the network sees. */
  heat: number[][];
  /** That part, in shares of the picture's width and height; it may reach beyond the picture. */
  frame: { left: number; top: number; right: number; bottom: number };
  /** Of the class, for the whole picture and with its most important place hidden. */
  probability: number;
  lowest: number;
}

export interface Answer {
  predictions: Prediction[];
  /** Whether the network is not certain enough for the answer to count; false where nothing is rejected. */
  rejected: boolean;
  /** How certain it is, as the manifest's threshold takes it; null where nothing is rejected. */
  score: number | null;
  /** One for each class, in the order of `classes`. */
  probabilities: Float32Array;
  logits: Float32Array;
  width: number;
  height: number;
  /** Milliseconds of decoding, of resizing and of the network. */
  ms: { decode: number; prepare: number; compute: number };
  heat?: HeatMap;
}

export interface Files {
  /** The content of `fleetnet.json`, as text or parsed. */
  manifest: string | object;
  model: Uint8Array | ArrayBuffer;
  /** The content of `fleetnet-core.wasm`. */
  core: Uint8Array | ArrayBuffer;
}

export class Classifier {
  /** Opens a folder by its address (in Node.js by a path too), or the files themselves. */
  static open(source?: string | URL | Files, options?: OpenOptions): Promise<Classifier>;
  readonly manifest: Record<string, unknown>;
  readonly classes: readonly string[];
  readonly engine: { name: string; threads: number | null; simd: boolean };
  classify(source: Source, options?: ClassifyOptions): Promise<Answer>;
  /** Returns a picture as the network takes it: crop × crop RGB triples. */
  input(source: Source): Promise<Uint8Array>;
  /** Returns the logits of such an input. */
  logits(input: Uint8Array): Promise<Float32Array>;
  /** Returns the probabilities of logits. */
  probabilities(logits: ArrayLike<number>): Float32Array;
  /** Returns whether logits are rejected, and the score that decides over it. */
  judged(logits: ArrayLike<number>): { rejected: boolean; score: number | null };
  close(): Promise<void>;
}
