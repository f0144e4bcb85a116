// Contrast of visible text, controls and marks by WCAG 2: a list of [what, ratio, required ratio].
const parse = (colour) => {
  const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number);
  return { r, g, b, a };
};
const over = (top, under) => {
  const mix = (name) => top[name] * top.a + under[name] * (1 - top.a);
  return { r: mix("r"), g: mix("g"), b: mix("b"), a: 1 };
};
const ground = (element) => {
  if (element === null) return { r: 255, g: 255, b: 255, a: 1 };
  const own = parse(getComputedStyle(element).backgroundColor);
  return own.a === 1 ? own : over(own, ground(element.parentElement));
};
const luminance = ({ r, g, b }) => {
  const linear = [r, g, b].map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
};
const ratio = (one, other) => {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
const name = (element) => `${element.tagName}.${element.getAttribute("class") ?? ""} ${element.textContent.trim().slice(0, 30)}`;
const isShown = (element) => element.checkVisibility() && element.getClientRects().length > 0;
const found = [];
for (const element of document.querySelectorAll("body *")) {
  if (!isShown(element)) continue;
  const style = getComputedStyle(element);
  const hasText = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
  if (hasText && element.tagName !== "title") {
    const colour = parse(element instanceof SVGElement ? style.fill : style.color);
    found.push([name(element), ratio(over(colour, ground(element)), ground(element)), 4.5]);
  }
  if (element.matches("input:not([type=range]), textarea, select, button:enabled.quiet")) {
    found.push([`border of ${name(element)}`, ratio(parse(style.borderTopColor), ground(element.parentElement)), 3]);
  }
  if (element.matches(".point line, path, .now, .diagonal")) {
    found.push([name(element), ratio(parse(style.stroke), ground(element)), 3]);
  }
  if (element.matches(".point circle, .dot, .column .labelled")) {
    found.push([name(element), ratio(parse(style.fill), ground(element)), 3]);
  }
  if (element.matches(".fill")) found.push([name(element), ratio(parse(style.backgroundColor), ground(element.parentElement)), 3]);
}
return found;
