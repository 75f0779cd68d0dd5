// The page: what it shows, and what happens on clicks and keys. One render a frame, if anything changed.

/* global cockpit */

import { $, el, rebuild, setText } from "./dom.js";
import { _, ngettext, format, number } from "./i18n.js";
import { Activity, eventCounters, slotMsec, slots } from "./activity.js";
import { Follower } from "./follow.js";
import { Session, clockOffset, errors, watchOwner } from "./service.js";
import { Stream } from "./stream.js";
import { Timeline, colourOf } from "./timeline.js";
import { arrange, command, containerOf, containerTrouble, covers, eventFilter, filterOf, interfaceTrouble, parseEvent, rowText, textFilter } from "./model.js";
import { clock, show } from "./text.js";
import { gapText, makeViews } from "./views.js";
import { initHealth, renderHealth, toggleHealth } from "./health.js";
import { renderEmpty } from "./empty.js";

const keptLines = 20000, focusLines = 5000;

// What the user chose. All of it is in the address of the page.
const choice = { tab: "interfaces", trouble: false, text: "", types: [], from: "newest", selected: null, span: null };

// What the service said.
const data = { interfaces: [], containers: [], properties: null, listed: false };

const stream = new Stream(keptLines); // all events
const focus = new Stream(focusLines); // those of what is selected
const activity = new Activity();
let session = null, empty = "connecting", user = "", ahead = 0, opened = null, dirty = false, shownBefore = 0;

const now = () => Date.now() + ahead;

const follower = new Follower({
    events(events) {
        stream.add(events);
        if (choice.selected && focus.ready)
            focus.add(events.filter(e => covers(choice.selected, e)));
        if (events.some(e => e.type === "ct_netif" || e.type === "state" || e.type === "db"))
            follower.kick();
        soon();
    },
    gap(count, why) {
        stream.gap(count, why);
        if (choice.selected)
            focus.gap(count, why);
        say(gapText({ count, why }));
        soon();
    },
    properties(properties) {
        data.properties = properties;
        activity.sample(eventCounters(properties.Counters), properties.StartTime, now());
        activity.stale = true;
        soon();
    },
    interfaces(rows) {
        data.interfaces = mark(data.interfaces, rows);
        data.listed = true;
        soon();
    },
    containers(rows) {
        data.containers = mark(data.containers, rows);
        soon();
    },
    paused: () => soon(),
});

// mark notes which rows are others than before.
function mark(before, rows) {
    const known = new Map(before.map(row => [row.key, row]));
    for (const row of rows) {
        const old = known.get(row.key);
        row.changed = old && old.state === row.state && old.name === row.name && old.id === row.id ? old.changed : data.listed ? now() : 0;
    }
    return rows;
}

// say has a screen reader say something.
function say(text) {
    setText($("status"), text);
}

// --- the connection

watchOwner(async (owner, installed) => {
    session?.close();
    session = null;
    if (owner)
        await connect(owner);
    else
        stop(installed ? "stopped" : "absent");
}, () => {
    session?.close();
    session = null;
    stop("lost");
});

function stop(state) {
    empty = state;
    renderEmpty(empty, user);
    say($("empty").querySelector("h2").textContent);
    soon();
}

// connect follows one owner of the name, until it goes or another one comes.
async function connect(owner) {
    const own = session = new Session(owner);
    try {
        data.properties = await own.properties();
        ahead = await clockOffset().catch(() => 0);
        const [, events] = await own.wait("newest-1024", {}, 1024, 0);
        activity.reset();
        activity.fill(events.map(parseEvent), events.length < 1024, now());
        activity.sample(eventCounters(data.properties.Counters), data.properties.StartTime, now());
        if (session !== own)
            return;
        empty = "";
        say(_("Live"));
        soon();
        if (choice.selected)
            loadFocus();
        await follower.run(own);
    } catch (e) {
        if (session !== own)
            return;
        own.close();
        stop(e.name === errors.denied || e.problem === "access-denied" ? "denied" : "hung");
        if (empty === "hung") // or it is about to leave the bus, which watchOwner will tell
            setTimeout(() => session === own && connect(owner), 2000);
    }
}

// loadFocus gets all events that are kept of what is selected.
async function loadFocus() {
    const { selected } = choice, own = session;
    focus.clear();
    focus.ready = false;
    focus.filter(eventFilter(choice));
    if (!selected || !own)
        return;
    try {
        const events = await follower.history(own, filterOf(selected));
        if (choice.selected !== selected)
            return;
        focus.add(events);
        focus.add(stream.lines.filter(e => !e.gap && covers(selected, e)));
    } catch (e) {
        if (choice.selected === selected)
            focus.gap(0, "gone");
    }
    focus.ready = true;
    soon();
}

// --- choices

function filterAll() {
    const passes = eventFilter(choice);
    stream.filter(passes);
    focus.filter(passes);
    shownBefore = shown().added;
    soon();
}

const shown = () => choice.selected ? focus : stream;

// choose changes choices, and all that follows from them.
function choose(changes) {
    const before = { ...choice };
    Object.assign(choice, changes);
    if (JSON.stringify(before.selected) !== JSON.stringify(choice.selected))
        loadFocus();
    if (before.from !== choice.from) {
        stream.clear();
        follower.pause(false);
        follower.start(choice.from);
    }
    filterAll();
    views.events.grid.scrollTop = 0;
    keepLocation();
}

function isSelected(row) {
    const s = choice.selected;
    return Boolean(s) && (s.veth ? row.veth === s.veth : row.pool === (s.pool ?? "") && row.id === (s.id ?? ""));
}

// select shows the events of a row: of its container, or of a veth of nobody known.
function select(row) {
    const of = row.pool || row.id ? { pool: row.pool, id: row.id } : { veth: row.veth };
    choose({ selected: isSelected(row) ? null : of, span: null });
}

function keepLocation() {
    const { selected } = choice, options = {};
    for (const key of ["pool", "id", "veth"])
        if (selected?.[key])
            options[key] = selected[key];
    if (choice.text)
        options.q = choice.text;
    if (choice.types.length)
        options.type = choice.types;
    if (choice.tab !== "interfaces")
        options.tab = choice.tab;
    if (choice.trouble)
        options.trouble = "1";
    if (choice.from !== "newest")
        options.from = choice.from;
    if (follower.paused && follower.cursor.includes(":"))
        options.paused = follower.cursor;
    if (JSON.stringify(options) !== JSON.stringify(cockpit.location.options))
        cockpit.location.replace([], options);
}

function readLocation() {
    const { pool, id, veth, q = "", type = [], tab, trouble, from, paused } = cockpit.location.options;
    const text = value => typeof value === "string" ? value : "";
    const selected = pool || id || veth ? Object.fromEntries(Object.entries({ pool, id, veth }).filter(([, value]) => text(value))) : null;
    choose({
        selected, text: text(q).slice(0, 200), types: [].concat(type), trouble: Boolean(trouble), span: null,
        tab: tab === "containers" ? tab : "interfaces", from: ["now", "oldest"].includes(from) ? from : "newest",
    });
    $("text").value = choice.text;
    $("from").value = choice.from;
    if (paused && paused !== follower.cursor) {
        stream.clear();
        follower.pause(false);
        follower.start(text(paused));
    }
}

function pause(paused) {
    follower.pause(paused);
    say(paused ? _("Paused") : _("Live"));
    keepLocation();
    soon();
}

// pick shows the events of a span of time, of all that are kept.
function pick(from, to) {
    choose({ span: [from, to], from: stream.lines.length && stream.lines[0].time < from ? choice.from : "oldest" });
    $("from").value = choice.from;
}

// open shows all that is known of an event.
function open(e) {
    opened = e.gap || opened === e ? null : e;
    soon();
}

// --- rendering

// soon renders with the next frame.
function soon() {
    if (!dirty && !document.hidden)
        requestAnimationFrame(render);
    dirty = true;
}

function connectionChip() {
    if (empty)
        return { connecting: { text: _("connecting"), tone: "plain" }, denied: { text: _("no access"), tone: "bad" }, hung: { text: _("no answer"), tone: "bad" } }[empty] ??
            { text: _("stopped"), tone: "bad" };
    if (follower.paused)
        return { text: _("paused"), tone: "warn" };
    return follower.fullSince ? { text: _("behind"), tone: "warn" } : { text: _("live"), tone: "good" };
}

function render() {
    dirty = false;
    renderHealth(connectionChip(), data.properties, now());
    renderEmpty(empty, user);
    $("content").hidden = Boolean(empty) && !data.listed;
    $("content").classList.toggle("old", Boolean(empty));
    $("pause").disabled = Boolean(empty);
    setText($("pause"), follower.paused ? _("Continue") : _("Pause"));
    if ($("content").hidden)
        return;
    renderActivity();
    renderLists();
    renderStream();
}

function renderActivity() {
    if (!activity.stale)
        return;
    activity.stale = false;
    const bars = activity.bars(now());
    timeline.draw(bars);
    rebuild($("legend"), bars.types, () => bars.types.map(type => {
        const swatch = el("i");
        swatch.style.background = `var(${colourOf(type)})`;
        return el("li", {}, swatch, type === "…" ? _("others") : show(type));
    }));
}

function renderLists() {
    const { tab } = choice, passes = textFilter(choice.text, rowText);
    const trouble = tab === "interfaces" ? interfaceTrouble : containerTrouble;
    const rows = arrange(data[tab], trouble, row => passes(row) && (!choice.trouble || trouble(row) < 2));
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
    renderNone(views[tab], rows.length, data[tab].length > 0, tab === "interfaces"
        ? _("No interfaces yet. A container with a veth shows up here when it starts.")
        : _("No containers yet. They show up here when their state changes."));
}

// renderNone says why a table is empty.
function renderNone(view, count, filtered, text) {
    const why = count ? "" : filtered ? _("Nothing matches.") : text;
    rebuild(view.none, why, () => why && filtered
        ? [why, " ", el("button", { type: "button", class: "link", click: showAll }, _("Show all"))]
        : [why]);
}

function showAll() {
    $("text").value = "";
    choose({ text: "", types: [], trouble: false, span: null });
}

function renderStream() {
    const { shown: lines, added, lines: all } = shown(), view = views.events;
    view.set(lines.length, i => lines[lines.length - 1 - i], added - shownBefore);
    if (!view.away)
        renderStream.seen = added;
    shownBefore = added;
    view.render();
    const missed = added - renderStream.seen, waiting = follower.paused && data.properties ? pausedSince() : 0;
    $("fresh").hidden = missed <= 0 && waiting <= 0;
    setText($("fresh"), waiting > 0
        ? format(ngettext("$0 new event: continue", "$0 new events: continue", waiting), number(waiting))
        : format(ngettext("$0 new event ▲", "$0 new events ▲", missed), number(missed)));
    setText($("stream-count"), number(lines.length));
    renderNone(view, lines.length, all.length > 0, choice.selected && !focus.ready ? _("Loading …") : _("Nothing yet. Events show up here as they come."));
    renderTypes();
    renderScope();
    renderDetails();
    setText($("command-text"), command(choice));
}

// pausedSince is how many events came since the page was paused.
function pausedSince() {
    const [epoch, at] = follower.cursor.split(":");
    return epoch === data.properties.Epoch ? data.properties.LastSequence - Number(at) : 0;
}

function renderTypes() {
    const types = [...new Set([...activity.types().filter(type => type !== "…"), ...choice.types])].sort().slice(0, 12);
    rebuild($("types"), [types, choice.types], () => types.map(type => {
        const on = choice.types.includes(type);
        const toggle = () => choose({ types: on ? choice.types.filter(other => other !== type) : [...choice.types, type] });
        return el("button", { type: "button", class: "chip", "data-type": type, "aria-pressed": on ? "true" : "false", click: toggle }, show(type));
    }));
}

// renderScope says which events are shown, where they are not all.
function renderScope() {
    const { selected, span } = choice, scopes = [];
    if (selected)
        scopes.push([selected.veth ? `veth ${show(selected.veth)}` : show(containerOf(selected.pool, selected.id)), { selected: null }]);
    if (span)
        scopes.push([`${clock(span[0], now()).slice(0, -4)} – ${clock(span[1], now()).slice(0, -4)}`, { span: null }]);
    rebuild($("scope"), scopes, () => scopes.map(([text, without]) =>
        el("button", { type: "button", class: "scope", "aria-label": format(_("Remove the filter $0"), text), click: () => choose(without) }, text, " ✕")));
}

function renderDetails() {
    $("details").hidden = !opened;
    if (!opened)
        return;
    const e = opened, epoch = data.properties?.Epoch ?? "";
    rebuild($("details"), [e.key, epoch], () => {
        const facts = [
            [_("Time"), new Date(e.time).toISOString()], [_("Source"), show(e.source)], [_("Number"), String(e.seq)], [_("Cursor"), `${epoch}:${e.seq}`],
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

// --- the document

const views = makeViews({ now, isSelected, select, isOpen: e => e === opened, open });
const timeline = new Timeline($("timeline"), $("readout"), pick);

function copy() {
    const text = $("command-text").textContent;
    const done = () => say(_("Copied"));
    // Only a page that came by https has a clipboard.
    (navigator.clipboard?.writeText(text) ?? Promise.reject()).then(done, () => {
        window.getSelection().selectAllChildren($("command-text"));
        document.execCommand("copy");
        done();
    });
}

function escape() {
    if (toggleHealth(false))
        $("chips").firstElementChild.focus();
    else if (opened)
        open(opened);
    else if (choice.selected || choice.span)
        choose({ selected: null, span: null });
    else
        return;
    soon();
}

function listen() {
    $("text").addEventListener("input", () => choose({ text: $("text").value }));
    $("from").addEventListener("change", () => choose({ from: $("from").value, span: null }));
    $("pause").addEventListener("click", () => pause(!follower.paused));
    $("trouble").addEventListener("click", () => choose({ trouble: !choice.trouble }));
    $("copy").addEventListener("click", copy);
    $("fresh").addEventListener("click", () => {
        views.events.grid.scrollTop = 0;
        if (follower.paused)
            pause(false);
        soon();
    });
    for (const tab of ["interfaces", "containers"]) {
        $(`tab-${tab}`).addEventListener("click", () => choose({ tab }));
        $(`tab-${tab}`).addEventListener("keydown", e => {
            if (e.key !== "ArrowLeft" && e.key !== "ArrowRight")
                return;
            const other = tab === "interfaces" ? "containers" : "interfaces";
            choose({ tab: other });
            render();
            $(`tab-${other}`).focus();
        });
    }
    for (const view of Object.values(views))
        for (const event of ["scroll", "moved"])
            view.grid.addEventListener(event, soon);
    document.addEventListener("keydown", e => e.key === "Escape" && escape());
    window.addEventListener("resize", () => { activity.stale = true; soon() });
    cockpit.addEventListener("locationchanged", readLocation);
    cockpit.addEventListener("visibilitychange", hide);
    document.addEventListener("visibilitychange", hide);
}

// hide stops all traffic while the page is out of sight.
function hide() {
    follower.hide(Boolean(cockpit.hidden) || document.hidden);
    if (dirty && !document.hidden)
        requestAnimationFrame(render);
}

// dress follows the shell's choice of light or dark.
function dress() {
    const style = localStorage.getItem("shell:style") || "auto";
    const dark = style === "dark" || style === "auto" && window.matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.classList.toggle("dark", dark);
    activity.stale = true;
    soon();
}

cockpit.translate();
$("text").placeholder = _("Filter: tank:101, eth0, veth…");
initHealth();
listen();
dress();
for (const event of ["storage", "cockpit-style"])
    window.addEventListener(event, dress);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);
cockpit.user().then(info => { user = info.name; soon() });
readLocation();
hide();
setInterval(() => { activity.stale = true; soon() }, 1000); // what says since when

// Administrative access was given or taken: another bridge talks to the bus.
const admin = cockpit.permission({ admin: true });
let allowed = admin.allowed;
admin.addEventListener("changed", () => {
    if (allowed !== null && allowed !== admin.allowed && session)
        window.location.reload();
    allowed = admin.allowed;
});
