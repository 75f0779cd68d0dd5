// Translated texts. Modules that node tests have no cockpit.

const cockpit = globalThis.cockpit;

export const _ = cockpit ? cockpit.gettext : text => text;
export const ngettext = cockpit ? cockpit.ngettext : (one, many, n) => n === 1 ? one : many;

// format puts values in the place of $0, $1 and so on.
export function format(text, ...values) {
    return text.replace(/\$(\d)/g, (whole, n) => values[n] ?? whole);
}

const numbers = new Intl.NumberFormat("en");

export const number = n => numbers.format(n);
