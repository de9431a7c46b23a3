'use strict';
/* Elements of the page. Strings are inserted as text only, never parsed as HTML. */
const dom = (() => {
  const byId = (id) => document.getElementById(id);

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith('--')) element.style.setProperty(name, value);
      else if (name === 'onclick') element.addEventListener('click', value);
      else if (value !== null && value !== false) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null).map(
      (child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
    return element;
  }

  const make = (tag, attributes = {}, ...children) =>
    fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes = {}, ...children) =>
    fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);

  const percent = (fraction, digits = 1) =>
    (Number.isFinite(fraction) ? (100 * fraction).toFixed(digits) : '–');

  function clock(seconds) {
    const tenths = Math.round(seconds * 10);
    const minutes = Math.floor(tenths / 600);
    return `${minutes}:${((tenths - minutes * 600) / 10).toFixed(1).padStart(4, '0')}`;
  }

  /* Three significant digits, for any range of scores. */
  const number = (value) => (Math.abs(value) >= 100 ? value.toFixed(0)
    : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(Math.abs(value) >= 1 ? 2 : 3));

  return {byId, make, svg, percent, clock, number};
})();
