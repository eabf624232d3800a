"use strict";

// Shared by all pages. Text from models and environments is only inserted as text nodes.
window.kintsugi = {
  /** Create an element with properties and children; strings become text nodes. */
  el(tag, props, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(props || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (key === "class") node.className = value;
      else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else node.setAttribute(key, value === true ? "" : String(value));
    }
    node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
    return node;
  },

  /** Return a colour or font of the style sheet. */
  style(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  },
};
