/** Elements are built here; a text from the service is only ever set as text. */

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** Returns an element; a property starting with "on" is a listener, with a hyphen an attribute. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Returns an element of SVG with attributes. */
export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Returns a symbol of the sprite in index.html, hidden from screen readers. */
export function icon(name) {
  return draw("svg", { class: "icon", "aria-hidden": "true" }, draw("use", { href: `#i-${name}` }));
}

/** Returns a button with a symbol; without a text, `label` is only spoken and shown as a tip. */
export function button(label, symbol, onclick, { text = false, ...more } = {}) {
  const name = text ? [make("span", { textContent: label })] : [];
  return make("button", {
    type: "button", title: text ? "" : label, "aria-label": label, onclick, ...more,
  }, icon(symbol), ...name);
}

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** Saves bytes as a file of the visitor's. */
export function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Returns a function that runs `action` once, shortly after its last call. */
export function soon(action, milliseconds = 60) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, milliseconds);
  };
}

/** Moves the only Tab stop of `items` to `chosen`, and returns it. */
export function rove(items, chosen) {
  for (const item of items) item.tabIndex = item === chosen ? 0 : -1;
  return chosen;
}
