// @ts-check
// What is chosen on the page, kept in its address: a reload, a bookmark and a link show the same view.

/** A chosen value; "" if none is. @param {string} name */
export const chosen = (name) => new URLSearchParams(location.search).get(name) ?? "";

/** Choose values; "" removes one. @param {Record<string, string>} values */
export function choose(values) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(values)) {
    if (value === "") query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  history.replaceState(null, "", `${location.pathname}${text ? `?${text}` : ""}${location.hash}`);
}

/**
 * Keep the value of a control in the address; its first value is the one that is not written there.
 * @param {HTMLInputElement|HTMLSelectElement} control
 * @param {string} name
 * @param {() => void} onChange
 */
export function keep(control, name, onChange) {
  const usual = control.value;
  if (chosen(name)) control.value = chosen(name);
  if (control instanceof HTMLSelectElement && control.selectedIndex < 0) control.value = usual;
  control.addEventListener("change", () => {
    choose({ [name]: control.value === usual ? "" : control.value });
    onChange();
  });
}
