// The state of the service as chips, and in full in the panel below them.

import { $, el, rebuild } from "./dom.js";
import { show, clock, ago } from "./text.js";
import { _, ngettext, format, number } from "./i18n.js";

// chipsOf returns what to say at a glance: {text, tone}.
export function chipsOf(connection, properties) {
    const chips = [connection];
    if (!properties)
        return chips;
    if (properties.Durable)
        chips.push({ text: _("durable"), tone: "good" });
    else
        chips.push({ text: _("in memory only"), tone: properties.LogProblem ? "bad" : "warn" });
    const missing = properties.Missing.length, lapped = properties.Counters.lapped;
    if (missing)
        chips.push({ text: format(ngettext("$0 missing", "$0 missing", missing), missing), tone: "warn" });
    if (lapped)
        chips.push({ text: format(ngettext("$0 signal lost", "$0 signals lost", lapped), number(lapped)), tone: "bad" });
    return chips;
}

// initHealth has the chips open and close the panel.
export function initHealth() {
    document.addEventListener("click", event => {
        if (!$("health").hidden && !$("health").contains(event.target) && !$("chips").contains(event.target))
            toggleHealth(false);
    });
}

// toggleHealth opens or closes the panel, and tells whether it was open.
export function toggleHealth(open = $("health").hidden) {
    const was = !$("health").hidden;
    $("health").hidden = !open;
    $("chips").firstElementChild?.setAttribute("aria-expanded", open);
    return was;
}

export function renderHealth(connection, properties, now) {
    const chips = chipsOf(connection, properties);
    if ($("chips").children.length === 0) {
        const button = el("button", {
            type: "button", "aria-expanded": false, "aria-controls": "health", title: _("State of the service"), click: () => toggleHealth(),
        });
        $("chips").append(button);
    }
    const button = $("chips").firstElementChild;
    rebuild(button, chips, () => chips.map(({ text, tone }) => el("span", { class: `label ${tone}` }, text)));
    if (!$("health").hidden)
        renderPanel(properties, now);
}

// counterName is what a counter counts: events of a type, or what its name says.
function counterName(name) {
    return name.startsWith("events_") ? format(_("events of $0"), show(name.slice("events_".length))) : show(name).replaceAll("_", " ");
}

function renderPanel(p, now) {
    if (!p) {
        rebuild($("health"), "", () => [el("p", {}, _("Nothing is known of the service yet."))]);
        return;
    }
    const started = p.StartTime / 1000;
    const kept = p.LastSequence < p.OldestSequence ? _("none") : `${number(p.OldestSequence)} – ${number(p.LastSequence)}`;
    const facts = [
        [_("Version"), show(p.Version)],
        [_("Running"), format(_("$0, since $1"), ago(now - started), clock(started, now).slice(0, -4))],
        [_("Events kept"), kept],
        [_("Epoch"), show(p.Epoch)],
    ];
    const counters = Object.entries(p.Counters).sort().map(([name, count]) => [counterName(name), number(count)]);
    const list = pairs => el("dl", {}, ...pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
    rebuild($("health"), [facts, counters, p.LogProblem, p.Missing], () => [
        p.LogProblem ? el("p", { class: "problem" }, format(_("The log cannot be written: $0"), show(p.LogProblem))) : "",
        ...p.Missing.map(line => el("p", { class: "problem" }, format(_("Missing: $0"), show(line)))),
        list(facts), el("h3", {}, _("Counters")), list(counters),
    ].filter(Boolean));
}
