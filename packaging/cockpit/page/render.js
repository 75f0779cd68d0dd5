// What the page shows of its state.

import { $, el, rebuild, setText } from "./dom.js";
import { _, ngettext, format, number } from "./i18n.js";
import { arrange, command, containerOf, containerTrouble, interfaceTrouble, rowText, textFilter } from "./model.js";
import { clock, show } from "./text.js";
import { colourOf } from "./timeline.js";
import { renderEmpty } from "./empty.js";
import { renderHealth } from "./health.js";

const mostChips = 12;

// render shows all of the page once.
export function render(page) {
    const { empty, data } = page;
    const runs = !["stopped", "absent", "lost"].includes(empty);
    renderHealth(connectionChip(page), runs ? data.properties : null, page.now());
    renderEmpty(empty, page.user);
    $("content").hidden = Boolean(empty) && !data.interfaces;
    $("content").classList.toggle("old", Boolean(empty));
    $("pause").disabled = Boolean(empty);
    setText($("pause"), page.follower.paused ? _("Continue") : _("Pause"));
    if ($("content").hidden)
        return;
    if (page.stale)
        renderActivity(page);
    renderLists(page);
    renderStream(page);
}

function connectionChip({ empty, follower }) {
    switch (empty) {
    case "connecting":
        return { text: _("connecting"), tone: "plain" };
    case "denied":
        return { text: _("no access"), tone: "bad" };
    case "hung":
        return { text: _("no answer"), tone: "bad" };
    case "":
        break;
    default:
        return { text: _("stopped"), tone: "bad" };
    }
    if (follower.paused)
        return { text: _("paused"), tone: "warn" };
    return follower.fullSince ? { text: _("behind"), tone: "warn" } : { text: _("live"), tone: "good" };
}

function renderActivity(page) {
    page.stale = false;
    const bars = page.activity.bars(page.now());
    page.timeline.draw(bars);
    rebuild($("legend"), bars.types, () => bars.types.map(type => {
        const swatch = el("i");
        swatch.style.background = `var(${colourOf(type)})`;
        return el("li", {}, swatch, type === "…" ? _("others") : show(type));
    }));
}

function renderLists({ choice, data, views, choose }) {
    const { tab } = choice, passes = textFilter(choice.text, rowText);
    const trouble = tab === "interfaces" ? interfaceTrouble : containerTrouble;
    const all = data[tab] ?? [], rows = arrange(all, trouble, row => passes(row) && (!choice.trouble || trouble(row) > 0));
    for (const name of ["interfaces", "containers"]) {
        $(`tab-${name}`).setAttribute("aria-selected", name === tab);
        $(`tab-${name}`).tabIndex = name === tab ? 0 : -1;
        $(name).hidden = name !== tab;
    }
    $("trouble").setAttribute("aria-pressed", choice.trouble);
    setText($("lists-title"), tab === "interfaces" ? _("Interfaces") : _("Containers"));
    setText($("lists-count"), number(rows.length));
    views[tab].set(rows.length, i => rows[i]);
    views[tab].render();
    const text = tab === "interfaces"
        ? _("No interfaces yet. A container with a veth shows up here when it starts.")
        : _("No containers yet. They show up here when their state changes.");
    renderNone(views[tab], rows.length, all.length > 0, data[tab] ? text : _("Loading …"), choose);
}

// renderNone says why a table is empty: the filter passes nothing, or there is nothing.
function renderNone(view, count, filtered, text, choose) {
    const why = count ? "" : filtered ? _("Nothing matches.") : text;
    const showAll = () => choose({ text: "", types: [], trouble: false, span: null });
    rebuild(view.none, why, () => why && filtered ? [why, " ", el("button", { type: "button", class: "link", click: showAll }, _("Show all"))] : [why]);
}

function renderStream(page) {
    const { choice, views } = page, stream = page.shown(), lines = stream.shown, view = views.events;
    view.set(lines.length, i => lines[lines.length - 1 - i], stream.added - page.rendered);
    if (!view.away)
        page.seen = stream.added;
    page.rendered = stream.added;
    view.render();
    renderFresh(page, stream.added - page.seen);
    setText($("stream-count"), number(lines.filter(line => !line.gap).length));
    $("stream-missing").hidden = stream.missing === 0;
    setText($("stream-missing"), format(_("$0 left out"), number(stream.missing)));
    const text = choice.selected && !page.focus.ready ? _("Loading …") : _("Nothing yet. Events show up here as they come.");
    renderNone(view, lines.length, stream.lines.length > 0, text, page.choose);
    renderTypes(page);
    renderScope(page);
    renderDetails(page);
    setText($("command-text"), command(choice));
}

// renderFresh says how many events came that are not shown, because the page is paused, or scrolled away.
function renderFresh({ empty, follower, data }, above) {
    const [epoch, at] = follower.cursor.split(":");
    const waiting = !empty && follower.paused && data.properties?.Epoch === epoch ? data.properties.LastSequence - Number(at) : 0;
    $("fresh").hidden = above <= 0 && waiting <= 0;
    setText($("fresh"), waiting > 0
        ? format(ngettext("$0 new event: continue", "$0 new events: continue", waiting), number(waiting))
        : format(ngettext("$0 new event ▲", "$0 new events ▲", above), number(above)));
}

function renderTypes({ activity, choice, choose }) {
    const types = [...new Set([...activity.types().filter(type => type !== "…"), ...choice.types])].sort().slice(0, mostChips);
    rebuild($("types"), [types, choice.types], () => types.map(type => {
        const on = choice.types.includes(type);
        const toggle = () => choose({ types: on ? choice.types.filter(other => other !== type) : [...choice.types, type] });
        return el("button", { type: "button", class: "chip", "data-type": type, "aria-pressed": on ? "true" : "false", click: toggle }, show(type));
    }));
}

// renderScope says which events are shown, where they are not all.
function renderScope({ choice, choose, now }) {
    const { selected, span } = choice, scopes = [];
    if (selected)
        scopes.push([selected.veth ? `veth ${show(selected.veth)}` : show(containerOf(selected.pool, selected.id)), { selected: null }]);
    if (span)
        scopes.push([span.map(time => clock(time, now()).slice(0, -4)).join(" – "), { span: null }]);
    rebuild($("scope"), scopes, () => scopes.map(([text, without]) =>
        el("button", { type: "button", class: "scope", "aria-label": format(_("Remove the filter $0"), text), click: () => choose(without) }, text, " ✕")));
}

function renderDetails({ opened, open }) {
    $("details").hidden = !opened;
    if (!opened)
        return;
    const e = opened;
    rebuild($("details"), e.key, () => {
        const facts = [
            [_("Time"), new Date(e.time).toISOString()], [_("Source"), show(e.source)], [_("Number"), String(e.seq)], [_("Cursor"), e.key],
            ...Object.entries(e.options).map(([name, value]) => [show(name), show(value)]),
        ];
        return [
            el("h3", {}, `${show(e.type)} ${show(e.action)}`),
            el("button", { type: "button", class: "close", "aria-label": _("Close"), click: () => open(e) }, "✕"),
            el("dl", {}, ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
            e.cut ? el("p", {}, _("Long options are cut: osctl-eventctl shows them whole.")) : "",
        ].filter(Boolean);
    });
}
