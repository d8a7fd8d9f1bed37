/** Which entries were marked as the person looked for, or as someone else. */

export class Marks extends EventTarget {
  person = "";
  #api;
  #all = new Map(); // Per person, what the service keeps: key -> whether it is right.
  #current = new Map(); // Of the person looked for, whether named yet or not.
  #pending = new Map(); // Per person, what was not kept yet: key -> true, false or null
  #tracks = new Map(); // key -> track, as far as known
  #report;

  /** `report(sentence, retry)` says that marks could not be kept. */
  constructor(api, report) {
    super();
    this.#api = api;
    this.#report = report;
  }

  get right() {
    return this.#keys(true);
  }

  get wrong() {
    return this.#keys(false);
  }

  get names() {
    return [...this.#all.keys()].sort((one, other) => one.localeCompare(other));
  }

  /** Whether there are marks of a person without a name, which are not kept. */
  get unnamed() {
    return !this.person && this.#current.size > 0;
  }

  /** Whether marks would be lost with the page. */
  get unsaved() {
    return this.unnamed || this.#pending.size > 0;
  }

  async load() {
    const { marks } = await this.#api.marks();
    this.#all.clear();
    for (const { person, key, right } of marks) {
      if (!this.#all.has(person)) this.#all.set(person, new Map());
      this.#all.get(person).set(key, right);
    }
    this.#changed();
  }

  /** Takes the name of the person looked for; marks made before it was named become theirs. */
  async name(person) {
    if (person === this.person) return;
    const unnamed = this.person ? [] : [...this.#current];
    this.person = person;
    this.#current = new Map([...(this.#all.get(person) ?? []), ...unnamed]);
    this.#changed();
    if (person) await this.#keep(person, unnamed);
  }

  /** Begins with an unnamed person and no marks. */
  reset() {
    this.person = "";
    this.#current = new Map();
    this.#changed();
  }

  /** Remembers the tracks of results, so that a mark is shown at any image of its track. */
  learn(results) {
    for (const { key, track } of results) this.#tracks.set(key, track);
  }

  /** Returns true or false as a result is marked, itself or by its track, else null. */
  of(result) {
    return this.#current.get(this.#markedKey(result)) ?? null;
  }

  /** Marks a result; the same mark a second time takes it back. */
  async toggle(result, right) {
    this.learn([result]);
    const key = this.#markedKey(result);
    await this.set(key, this.#current.get(key) === right ? null : right);
  }

  async set(key, right) {
    if (right === null) this.#current.delete(key);
    else this.#current.set(key, right);
    this.#changed();
    if (this.person) await this.#keep(this.person, [[key, right]]);
  }

  /** Forgets entries that were deleted. */
  drop(keys) {
    const shown = keys.map((key) => this.#current.delete(key)).some(Boolean);
    for (const people of [this.#all, this.#pending]) {
      for (const [person, marks] of people) {
        for (const key of keys) marks.delete(key);
        if (!marks.size) people.delete(person);
      }
    }
    this.dispatchEvent(new Event(shown ? "change" : "kept"));
  }

  #markedKey({ key, track }) {
    if (this.#current.has(key) || !track) return key;
    return [...this.#current.keys()].find((other) => this.#tracks.get(other) === track) ?? key;
  }

  #keys(right) {
    return [...this.#current].filter(([, value]) => value === right).map(([key]) => key);
  }

  /** Sends marks, and those of the person that could not be sent before. */
  async #keep(person, marks) {
    const sent = new Map([...(this.#pending.get(person) ?? []), ...marks]);
    if (!sent.size) return;
    this.#pending.set(person, sent);
    try {
      await this.#api.mark(person, [...sent].map(([key, right]) => ({ key, right })));
    } catch (error) {
      this.#report(`The marks of ${person} were not kept: ${error.message}`,
        () => this.#keep(person, []));
      return;
    }
    if (this.#pending.get(person) === sent) this.#pending.delete(person);
    const kept = this.#all.get(person) ?? new Map();
    for (const [key, right] of sent) {
      if (right === null) kept.delete(key);
      else kept.set(key, right);
    }
    this.#all.set(person, kept);
    this.dispatchEvent(new Event("kept"));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
