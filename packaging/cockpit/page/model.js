// What the service says, as plain objects: pure functions, without D-Bus and without a document.

import { clip, compareNatural, quote, show } from "./text.js";

// What an event may take in the page: an option's text, and all of them together.
const optionLength = 1024, eventLength = 4096;

// parseInterface reads a row of ListInterfaces.
export function parseInterface([ifindex, veth, name, pool, id, state, more]) {
    return {
        key: String(ifindex), ifindex, veth, name, pool, id, state, since: more.since ? more.since.v / 1000 : 0, ctName: more.name ? String(more.name.v) : "",
    };
}

// parseContainer reads a row of ListContainers.
export function parseContainer([pool, id, state, usec, more]) {
    return {
        key: containerOf(pool, id), pool, id, state, since: usec / 1000,
        source: more.source ? String(more.source.v) : "", ctName: more.name ? String(more.name.v) : "",
    };
}

// split returns the epoch and the number of a cursor.
export function split(cursor) {
    const colon = cursor.lastIndexOf(":");
    return [cursor.slice(0, colon), Number(cursor.slice(colon + 1))];
}

// parseEvents reads a reply of WaitEvents. The numbers of its events are of the epoch of its cursor.
export function parseEvents([cursor, events]) {
    const [epoch] = split(cursor);
    return events.map(e => parseEvent(e, epoch));
}

// parseEvent reads an event of an epoch. Of long options it keeps the beginning. The key is the cursor after the event.
export function parseEvent([type, action, pool, id, source, seq, usec, opts], epoch) {
    const options = {};
    let left = eventLength, cut = false;
    for (const name in opts) {
        const text = valueText(opts[name]);
        if (left <= 0) {
            cut = true;
            continue;
        }
        options[name] = clip(text, Math.min(optionLength, left));
        cut ||= options[name].length < text.length;
        left -= name.length + options[name].length;
    }
    return { key: `${epoch}:${seq}`, epoch, seq, time: usec / 1000, type, action, pool, id, source, options, cut };
}

// valueText returns a D-Bus value as text. JavaScript has no integers above 2^53, and one of the
// bridges makes them negative where they have no sign.
export function valueText({ t, v }) {
    switch (t) {
    case "s": case "o": case "g":
        return v;
    case "v":
        return valueText(v);
    case "t":
        return v < 0 || v > Number.MAX_SAFE_INTEGER ? "≥ 9007199254740992" : String(v);
    default:
        return JSON.stringify(plain(v));
    }
}

// plain takes the types out of a value.
function plain(v) {
    if (Array.isArray(v))
        return v.map(plain);
    if (v === null || typeof v !== "object")
        return v;
    if ("t" in v && "v" in v && typeof v.t === "string" && Object.keys(v).length === 2)
        return plain(v.v);
    return Object.fromEntries(Object.entries(v).map(([key, value]) => [key, plain(value)]));
}

// containerOf returns POOL:ID, or what there is of it.
export function containerOf(pool, id) {
    return pool && id ? `${pool}:${id}` : pool || id;
}

// nameOf returns what people call a container: its name if it has one, else its id, of which the beginning will do
// if it is a hash.
export function nameOf(id, ctName) {
    return ctName || (/^[0-9a-f]{64}$/.test(id) ? id.slice(0, 12) : id);
}

// tones of states and actions, which are the names of classes.
const tones = {
    up: "good", running: "good", add: "good", done: "good", healthy: "good", thawed: "good",
    down: "bad", stopped: "bad", error: "bad", failed: "bad", aborting: "bad", unhealthy: "bad",
    "no-carrier": "warn", starting: "warn", stopping: "warn", staged: "warn", freezing: "warn", frozen: "warn", run: "warn",
};

export const toneOf = state => Object.hasOwn(tones, state) ? tones[state] : "plain";

// interfaceTrouble returns how much trouble an interface is in: most where it does not work, some where its owner
// is not known, 0 where it is well.
export function interfaceTrouble(i) {
    const owned = i.pool || i.id;
    if (i.state !== "up")
        return owned ? 3 : 2;
    return owned ? 0 : 1;
}

// containerTrouble returns how much trouble a container is in; one that is stopped is in less than none.
export function containerTrouble(c) {
    if (c.state === "stopped")
        return -1;
    return { bad: 2, warn: 1 }[toneOf(c.state)] ?? 0;
}

// arrange returns the rows that a filter passes, trouble first.
export function arrange(rows, trouble, passes) {
    const order = (a, b) => trouble(b) - trouble(a) || compareNatural(a.pool, b.pool) || compareNatural(a.id, b.id) ||
        compareNatural(a.veth ?? "", b.veth ?? "") || compareNatural(a.key, b.key);
    return rows.filter(passes).sort(order);
}

// describe says the main thing of an event in words: what is not in the other columns.
export function describe(event) {
    const o = event.options, shown = new Set(["pool", "id", "action", "state", "ct_name"]), parts = [];
    if (event.type === "management") {
        parts.push(show(o.cmd ?? ""), `#${show(event.id)}`);
        shown.add("cmd");
    } else if (event.type === "ct_netif") {
        for (const name of ["name", "new_name", "veth", "old_veth", "ifindex", "resync", "gone", "coalesced", "handover", "bound_by"])
            shown.add(name);
        const name = o.new_name && o.new_name !== o.name ? `${show(o.name ?? "")} → ${show(o.new_name)}` : show(o.name ?? "");
        const veth = o.old_veth ? `${show(o.old_veth)} → ${show(o.veth ?? "")}` : show(o.veth ?? "");
        parts.push(name, veth && `(${veth})`);
        parts.push(...["gone", "resync", "handover"].filter(flag => o[flag] === "true").map(flag => `[${flag}]`));
        if (o.coalesced)
            parts.push(`[${o.coalesced} left out]`);
    }
    for (const name in o)
        if (!shown.has(name))
            parts.push(`${show(name)}=${show(o[name])}`);
    return clip(parts.filter(Boolean).join(" "), 300);
}

// textFilter returns a function that tells whether a row has every word of a text in it.
export function textFilter(text, haystack) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    return row => words.length === 0 || words.every(word => haystack(row).includes(word));
}

export const rowText = r => `${containerOf(r.pool, r.id)} ${containerOf(r.pool, r.ctName)} ${r.name ?? ""} ${r.veth ?? ""} ${r.state}`.toLowerCase();

export const eventText = e =>
    e.gap ? "" : (e.text ??= `${e.type} ${e.action} ${containerOf(e.pool, e.id)} ${e.source} ${Object.values(e.options).join(" ")}`.toLowerCase());

// eventFilter returns a function that tells whether an event is to be shown. Gaps always are.
export function eventFilter({ text, types, span }) {
    const has = textFilter(text, eventText), any = types.length === 0;
    return e => e.gap || (any || types.includes(e.type)) && (!span || e.time >= span[0] && e.time < span[1]) && has(e);
}

// filterOf returns the filter for WaitEvents of what is selected: {pool, id} or {veth}.
export function filterOf(selected) {
    const filter = {};
    for (const key of ["pool", "id", "veth"])
        if (selected[key])
            filter[key] = { t: "s", v: selected[key] };
    return filter;
}

// covers tells whether an event is one of what is selected.
export function covers(selected, e) {
    return (!selected.pool || e.pool === selected.pool) && (!selected.id || e.id === selected.id) &&
        (!selected.veth || e.options.veth === selected.veth);
}

// command returns what shows the same at a shell.
export function command({ selected, types, text, span, from }) {
    const words = ["osctl-eventctl", "monitor"];
    const { pool, id, veth } = selected ?? {};
    if (pool && id && !pool.includes(":") && !id.includes("/") && !pool.startsWith("-")) {
        words.push(quote(`${pool}:${id}`));
    } else {
        for (const [flag, value] of Object.entries({ pool, id, veth }))
            if (value)
                words.push(`--${flag}=${quote(value)}`);
    }
    if (types.length)
        words.push("--type", types.map(quote).join(","));
    if (span)
        words.push("--since", new Date(span[0]).toISOString(), "--until", new Date(span[1]).toISOString());
    else if (from === "oldest" || selected)
        words.push("--since", "oldest");
    const grep = text.split(/\s+/).filter(Boolean).map(word => ` | grep --line-buffered -iFe ${quote(word)}`);
    return words.join(" ") + grep.join("");
}
