// Requests to the server that this page came from.

export class Refusal extends Error {
  constructor(text, status, retryAfter) {
    super(text);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** A client; `askForToken(text)` gives a promise of the token that a person typed. */
export class Api {
  #token = "";
  #asking = null;

  constructor(askForToken) {
    this.askForToken = askForToken;
  }

  get hasToken() {
    return this.#token !== "";
  }

  models() {
    return this.#json("/v2/repository/index", { method: "POST", body: '{"ready": true}' });
  }

  card(model, version) {
    const name = encodeURIComponent(model);
    const part = version ? `/versions/${encodeURIComponent(version)}` : "";
    return this.#json(`/models/${name}${part}/card`);
  }

  classify(picture, model, version, signal) {
    return this.#post("/classify", { model, version, top_k: 5 }, picture, signal);
  }

  explain(picture, model, version, index, signal) {
    return this.#post("/explain", { model, version, class: index }, picture, signal);
  }

  #post(path, query, body, signal) {
    const asked = Object.entries(query).filter(([, value]) => value !== "");
    const headers = { "content-type": "application/octet-stream" };
    const words = new URLSearchParams(asked);
    return this.#json(`${path}?${words}`, { method: "POST", body, headers, signal });
  }

  async #json(path, options = {}) {
    for (;;) {
      const used = this.#token;
      const response = await this.#fetched(path, options, used);
      if (response.status !== 401) return this.#value(response);
      if (used === this.#token) await this.#newToken(used);
    }
  }

  async #fetched(path, options, token) {
    const headers = { ...options.headers };
    if (token) headers.authorization = `Bearer ${token}`;
    try {
      return await fetch(path, { ...options, headers, credentials: "omit", cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refusal("The server cannot be reached, or closed the connection.", 0, 0);
    }
  }

  async #value(response) {
    let value = null;
    try {
      value = await response.json();
    } catch (error) {
      if (error.name === "AbortError") throw error;
    }
    if (response.ok && value !== null) return value;
    const text = value?.error ?? value?.predictions?.[0]?.error ?? `The answer is ${response.status}.`;
    throw new Refusal(String(text), response.status, Number(response.headers.get("retry-after")) || 1);
  }

  /** Asks once, however many requests wait for a token. */
  async #newToken(used) {
    this.#asking ??= this.askForToken(used ? "This token is not known." : "");
    this.#token = await this.#asking;
    this.#asking = null;
  }
}
