// The three tables: how a row looks.

import { Rows } from "./rows.js";
import { containerOf, describe, nameOf, toneOf } from "./model.js";
import { ago, clock, show } from "./text.js";
import { _, ngettext, format, number } from "./i18n.js";
import { $ } from "./dom.js";

const flashMsec = 2000;
const nobody = { text: "–", title: "" };

// named is the cell of a container: its id, or the name that people call it by.
function named(pool, id, ctName) {
    const own = containerOf(pool, id);
    return own ? { text: show(containerOf(pool, nameOf(id, ctName))), title: show(own) } : nobody;
}

const sinceOf = (since, now) => since ? { text: ago(now - since), title: clock(since, now) } : nobody;

const classOf = (item, now, selected) =>
    [item.changed && now - item.changed < flashMsec ? "flash" : "", selected ? "selected" : ""].filter(Boolean).join(" ");

// makeViews makes the tables. page has now(), isSelected(item), select(item) and open(event).
export function makeViews(page) {
    const interfaces = new Rows($("interfaces"), {
        label: _("Interfaces"),
        columns: [_("Container"), _("Name"), _("Host veth"), _("State"), _("Since")],
        open: page.select,
        row: i => {
            const now = page.now(), selected = page.isSelected(i);
            const cells = [
                named(i.pool, i.id, i.ctName), { text: show(i.name) || "–" }, { text: show(i.veth) },
                { text: show(i.state), tone: toneOf(i.state) }, sinceOf(i.since, now),
            ];
            return { cells, name: i.veth, selected, className: classOf(i, now, selected) };
        },
    });
    const containers = new Rows($("containers"), {
        label: _("Containers"),
        columns: [_("Container"), _("State"), _("Since"), _("Source")],
        open: page.select,
        row: c => {
            const now = page.now(), selected = page.isSelected(c);
            const cells = [
                named(c.pool, c.id, c.ctName), { text: show(c.state), tone: toneOf(c.state) }, sinceOf(c.since, now), { text: show(c.source) },
            ];
            return { cells, name: c.key, selected, className: classOf(c, now, selected) };
        },
    });
    const events = new Rows($("events"), {
        label: _("Events"),
        columns: [_("Time"), _("Type"), _("Action"), _("Container"), _("What")],
        open: page.open,
        row: e => e.gap ? gapRow(e) : eventRow(e, page),
    });
    return { interfaces, containers, events };
}

function eventRow(e, page) {
    const cells = [
        { text: clock(e.time, page.now()) }, { text: show(e.type), tone: e.type === "ct_netif" ? "info" : "plain" },
        e.action ? { text: show(e.action), tone: toneOf(e.action) } : { text: "" },
        e.type === "management" ? nobody : named(e.pool, e.id, e.options.ct_name), { text: describe(e) }, // the id is the command's
    ];
    const selected = page.isOpen(e);
    return { cells, name: String(e.seq), selected, className: selected ? "selected" : "" };
}

// gapText says what is not there.
export function gapText({ count, why }) {
    const n = number(count);
    switch (why) {
    case "fast":
        return format(ngettext("$0 event skipped, too fast to show", "$0 events skipped, too fast to show", count), n);
    case "epoch":
        return _("The service began a new history: what was before is gone");
    default:
        return count ? format(ngettext("$0 event is no longer kept", "$0 events are no longer kept", count), n) : _("Earlier events are no longer kept");
    }
}

function gapRow(gap) {
    const empty = { text: "" };
    return { cells: [{ text: `— ${gapText(gap)} —` }, empty, empty, empty, empty], name: gap.key, className: "gap" };
}
