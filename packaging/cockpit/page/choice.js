// Choice is what the user chose to see. All of it is in the address of the page, so that it can be
// handed on; what an address says is checked here.

const textLength = 200, mostTypes = 16;

// nothing is the choice of a page that was opened without an address.
export const nothing = { tab: "interfaces", trouble: false, text: "", types: [], from: "newest", selected: null, span: null };

// optionsOf returns the options of the address for a choice, and for the cursor at which the page is paused, or "".
export function optionsOf({ tab, trouble, text, types, from, selected }, paused) {
    const options = {};
    for (const key of ["pool", "id", "veth"])
        if (selected?.[key])
            options[key] = selected[key];
    if (text)
        options.q = text;
    if (types.length)
        options.type = types;
    if (tab !== nothing.tab)
        options.tab = tab;
    if (trouble)
        options.trouble = "1";
    if (from !== nothing.from)
        options.from = from;
    if (paused)
        options.paused = paused;
    return options;
}

// choiceOf reads the options of an address.
export function choiceOf(options) {
    const text = key => typeof options[key] === "string" ? options[key].slice(0, textLength) : "";
    const selected = {};
    for (const key of ["pool", "id", "veth"])
        if (text(key))
            selected[key] = text(key);
    return {
        tab: text("tab") === "containers" ? "containers" : nothing.tab,
        trouble: Boolean(text("trouble")),
        text: text("q"),
        types: [].concat(options.type ?? []).filter(type => typeof type === "string" && type).slice(0, mostTypes),
        from: ["now", "oldest"].includes(text("from")) ? text("from") : nothing.from,
        selected: Object.keys(selected).length ? selected : null,
        span: null,
    };
}

// pausedOf returns the cursor of an address, or "".
export function pausedOf({ paused }) {
    return typeof paused === "string" && /^[^:]{1,64}:\d{1,15}$/.test(paused) ? paused : "";
}
