// What must hold on every page; returns what does not.
const wrong = [];
const need = (is, what) => is || wrong.push(what);
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
const isSeen = (node) => {
  const box = node.getBoundingClientRect();
  return box.width > 1 && box.height > 1 && getComputedStyle(node).visibility === "visible" &&
    !node.closest(".unseen, .unseen-until-focus, .skip, details:not([open]) > :not(summary), thead");
};

need(document.scrollingElement.scrollWidth <= innerWidth, `overflows: ${document.scrollingElement.scrollWidth}`);
need(document.documentElement.lang === "en", "no language");
need(document.title.length > 3, "no title");
need(all("h1").length === 1, "not one h1");
need(all("main").length === 1, "not one main");
need(all("[style]").length === 0, "a style attribute");
need(all("script:not([src])").length === 0, "an inline script");
need(window.evil === undefined, "a script of the data's has run");
const ids = all("[id]").map((node) => node.id);
need(new Set(ids).size === ids.length, `an id twice: ${ids}`);
for (const field of all("input:not([type=hidden], [hidden]), select")) {
  need(field.labels.length > 0, `no label: ${field.name}`);
}
for (const link of all("a, button")) {
  need(link.textContent.trim() || link.title, `a link or button without words: ${link.outerHTML}`);
}
for (const image of all("img, svg")) {
  need(image.hasAttribute("alt") || image.hasAttribute("aria-label"), `no words for ${image.outerHTML.slice(0, 80)}`);
}

// Contrast, WCAG 2.2 AA: 4.5, of every text that is seen. <https://www.w3.org/TR/WCAG22/#contrast-minimum>
const parse = (colour) => {
  const [red, green, blue, alpha = 1] = colour.match(/[\d.]+/g).map(Number);
  return { channels: [red, green, blue], alpha };
};
const luminance = ({ channels }) => {
  const [red, green, blue] = channels
    .map((it) => it / 255)
    .map((it) => (it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const ground = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor);
    if (colour.alpha === 1) return colour;
  }
  return parse("rgb(255, 255, 255)");
};
let looked = 0;
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const node = texts.currentNode.parentElement;
  if (!texts.currentNode.textContent.trim() || !isSeen(node)) continue;
  const pair = [luminance(parse(getComputedStyle(node).color)), luminance(ground(node))];
  const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
  looked += 1;
  need(ratio >= 4.5, `contrast ${ratio.toFixed(2)} of ${node.outerHTML.slice(0, 80)}`);
}
need(looked > 3, "hardly any text");
return wrong;
