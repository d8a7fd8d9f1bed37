/** The service's REST interface; what it refuses is an error with the service's sentence. */

const TOKEN = "tfreid.gallery.token";
const LISTED = 1000; // The most entries that the service lists.
const BUSY = 503, PATIENCE = 2000; // Milliseconds until a busy service is asked once more.

export class Api {
  #askToken;
  #say;
  #asking = null;

  /** `askToken(again)` returns a promise of the token, or of null if the visitor gave up;
   * `say(sentence)` tells why an answer takes longer. */
  constructor(askToken, say) {
    this.#askToken = askToken;
    this.#say = say;
  }

  about = () => this.#json("about");
  search = (form, signal) => this.#json("search", { method: "POST", body: form, signal });
  track = (track) => this.#json(`entries?${new URLSearchParams({ track, limit: LISTED })}`);
  enrol = (form) => this.#json("entries", { method: "POST", body: form });
  remove = (what) => this.#json("entries", asJson("DELETE", what));
  identify = () => this.#json("identify", asJson("POST", {}));
  marks = () => this.#json("marks");
  mark = (person, marks) => this.#json("marks", asJson("POST", { person, marks }));
  marksTable = async () => (await this.#send("marks.csv")).blob();
  thumbnail = async (key) =>
    (await this.#send(`thumbnail?${new URLSearchParams({ key })}`)).blob();
  removed = async (keys) => {
    const gone = await Promise.all(keys.map((key) =>
      this.thumbnail(key).then(() => false, ({ status }) => status === 404)));
    return keys.filter((_, place) => gone[place]);
  };

  async #json(path, options) {
    return (await this.#send(path, options)).json();
  }

  async #send(path, options = {}) {
    for (let patient = true; ;) {
      const token = sessionStorage.getItem(TOKEN);
      const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
      const response = await reach(`api/${path}`, { ...options, headers });
      if (response.ok) return response;
      if (response.status === BUSY && patient) {
        patient = false;
        this.#say((await refusalOf(response)).message);
        await new Promise((resolve) => { setTimeout(resolve, PATIENCE); });
        continue;
      }
      if (response.status !== 401) throw await refusalOf(response);
      if (token === sessionStorage.getItem(TOKEN)) await this.#newToken(token, response);
    }
  }

  /** Asks once, however many requests were refused at the same time. */
  async #newToken(refused, response) {
    this.#asking ??= this.#askToken(refused !== null);
    const token = await this.#asking.finally(() => { this.#asking = null; });
    if (token === null) throw await refusalOf(response);
    sessionStorage.setItem(TOKEN, token);
  }
}

const asJson = (method, content) => ({
  method, body: JSON.stringify(content), headers: { "Content-Type": "application/json" },
});

async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The service does not answer; check that it still runs.");
  }
}

/** Returns an error with the sentence and the status of a refused request. */
async function refusalOf(response) {
  const content = await response.json().catch(() => ({}));
  const sentence = typeof content?.error === "string"
    ? content.error : `The service answered with status ${response.status}.`;
  return Object.assign(new Error(sentence), { status: response.status });
}
