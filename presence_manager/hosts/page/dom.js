// Making and changing elements. Text comes in as text: there is no other way in this file.

/** An element with these attributes; `text` is its text, children are elements or text. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  give(made, attributes);
  made.append(...children);
  return made;
}

/** An element of SVG. */
export function svg(tag, attributes = {}) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  give(made, attributes);
  return made;
}

function give(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
}

/** The element of the page with this id. */
export const byId = (id) => document.getElementById(id);

/** Set a text, if it differs: what does not change is not laid out again, nor read out again. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set an attribute, if it differs. */
export function mark(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Tell those who do not see the page; only what matters. */
export function tell(text) {
  say(byId("told"), text);
}

/**
 * Make the children of `parent` those that `make` gives for each key of `keys`, in this order;
 * `kept` remembers them. An element that stays is not touched, and so keeps its focus.
 */
export function keep(parent, kept, keys, make, before = null) {
  const wanted = new Set(keys);
  for (const [key, element] of kept) {
    if (!wanted.has(key)) {
      element.remove();
      kept.delete(key);
    }
  }
  let next = before;
  for (let n = keys.length - 1; n >= 0; n -= 1) {
    let element = kept.get(keys[n]);
    if (element === undefined) {
      element = make(keys[n], n);
      kept.set(keys[n], element);
    }
    if (element.parentNode !== parent || element.nextSibling !== next) {
      parent.insertBefore(element, next);
    }
    next = element;
  }
}
