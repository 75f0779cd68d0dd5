// Text for people. Names come from containers, whose root may be an attacker: the page shows all
// text by textContent, and first makes visible what would not show, or would reorder the rest.

const unseen = /[\p{C}\p{Z}]/gu;
const rightToLeft = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;
const named = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

// show returns text with control characters, marks of direction, characters without a glyph and
// unusual blanks as escapes. Text that runs right to left is isolated from what stands beside it.
export function show(text) {
    const shown = text.replace(unseen, c => c === " " ? c : escape(c));
    return rightToLeft.test(shown) ? `\u2068${shown}\u2069` : shown;
}

function escape(c) {
    const code = c.codePointAt(0), hex = code.toString(16);
    if (named[c])
        return named[c];
    if (code < 0x100)
        return "\\x" + hex.padStart(2, "0");
    return code < 0x10000 ? "\\u" + hex.padStart(4, "0") : "\\U" + hex.padStart(8, "0");
}

// clip cuts text to a number of UTF-16 units.
export function clip(text, length) {
    return text.length > length ? text.slice(0, length) + "…" : text;
}

// quote makes one word for bash of any text, in printable ASCII.
export function quote(text) {
    if (/^[\w:@%+=.,/-]+$/.test(text))
        return text;
    if (/^[ -~]*$/.test(text))
        return "'" + text.replaceAll("'", "'\\''") + "'";
    const bytes = Array.from(new TextEncoder().encode(text), b =>
        b < 0x20 || b > 0x7e || b === 0x27 || b === 0x5c ? "\\x" + b.toString(16).padStart(2, "0") : String.fromCharCode(b));
    return "$'" + bytes.join("") + "'";
}

const two = n => String(n).padStart(2, "0");

// clock returns the time of milliseconds since 1970, with the date unless that is today's.
export function clock(msec, now) {
    const t = new Date(msec), n = new Date(now);
    const time = `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}.${String(t.getMilliseconds()).padStart(3, "0")}`;
    const today = t.getDate() === n.getDate() && t.getMonth() === n.getMonth() && t.getFullYear() === n.getFullYear();
    return today ? time : `${two(t.getMonth() + 1)}-${two(t.getDate())} ${time}`;
}

// ago returns how long something lasts, in its two largest units at most.
export function ago(msec) {
    const s = Math.max(0, Math.floor(msec / 1000));
    if (s < 60)
        return `${s} s`;
    if (s < 3600)
        return `${Math.floor(s / 60)} min`;
    if (s < 86400)
        return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
    return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
}

const collator = new Intl.Collator("en", { numeric: true });

// compareNatural orders text so that ct9 comes before ct10.
export const compareNatural = (a, b) => collator.compare(a, b);
