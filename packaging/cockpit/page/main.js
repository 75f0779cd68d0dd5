// The page: what it knows, and what happens on events, clicks and keys. One render a frame, if anything changed.

/* global cockpit */

import { $, setText } from "./dom.js";
import { _ } from "./i18n.js";
import { Activity, eventCounters } from "./activity.js";
import { Follower } from "./follow.js";
import { Session, clockOffset, errors, watchOwner } from "./service.js";
import { Stream } from "./stream.js";
import { Timeline } from "./timeline.js";
import { choiceOf, nothing, optionsOf, pausedOf } from "./choice.js";
import { covers, eventFilter, filterOf, parseEvents } from "./model.js";
import { gapText, makeViews } from "./views.js";
import { initHealth, toggleHealth } from "./health.js";
import { render } from "./render.js";

const keptLines = 20000, focusLines = 5000;
const listed = ["ct_netif", "state", "db"]; // types of events that change the lists

const page = {
    choice: { ...nothing },
    data: { interfaces: null, containers: null, properties: null }, // what the service said; null before it did
    stream: new Stream(keptLines), // all events
    focus: new Stream(focusLines), // those of what is selected
    activity: new Activity(),
    session: null,
    empty: "connecting", // why there is nothing to show; "" if there is
    user: "",
    ahead: 0, // of our clock is that of the host, in milliseconds
    opened: null, // the event whose details are shown
    stale: true, // the chart is to be drawn
    rendered: 0, // how many lines of the stream were ever rendered,
    seen: 0, // and how many of them were in sight
    now: () => Date.now() + page.ahead,
    shown: () => page.choice.selected ? page.focus : page.stream,
    isSelected, select, open, choose, isOpen: e => e === page.opened,
};
const { choice, data, stream, focus, activity } = page;

page.follower = new Follower({
    events(events) {
        stream.add(events);
        if (choice.selected && focus.ready)
            focus.add(events.filter(e => covers(choice.selected, e)));
        if (events.some(e => listed.includes(e.type)))
            page.follower.kick();
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
        activity.sample(eventCounters(properties.Counters), properties.StartTime, page.now());
        page.stale = true;
        soon();
    },
    interfaces(rows) {
        data.interfaces = mark(data.interfaces, rows);
        soon();
    },
    containers(rows) {
        data.containers = mark(data.containers, rows.filter(c => c.state)); // of others only the name is known
        soon();
    },
    paused() {
        keepLocation();
        soon();
    },
});
const { follower } = page;

// mark notes which rows are others than before. In the first list none is.
function mark(before, rows) {
    if (!before)
        return rows;
    const known = new Map(before.map(row => [row.key, row]));
    for (const row of rows) {
        const old = known.get(row.key);
        const same = old && old.state === row.state && old.name === row.name && old.id === row.id;
        row.changed = same ? old.changed : page.now();
    }
    return rows;
}

// say has a screen reader say something.
function say(text) {
    setText($("status"), text);
}

// --- the connection

function watch() {
    const end = () => {
        page.session?.close();
        page.session = null;
    };
    page.lookForBus = watchOwner((owner, installed) => {
        end();
        if (owner)
            connect(owner);
        else
            stop(installed ? "stopped" : "absent");
    }, () => {
        end();
        stop("lost");
    });
}

function stop(state) {
    page.empty = state;
    render(page);
    say($("empty").querySelector("h2").textContent);
}

// connect follows one owner of the name, until it goes or another one comes.
async function connect(owner) {
    const own = page.session = new Session(owner);
    try {
        data.properties = await own.properties();
        page.ahead = await clockOffset().catch(() => 0);
        const events = parseEvents(await own.wait("newest-1024", {}, 1024, 0));
        if (page.session !== own)
            return;
        activity.reset();
        activity.fill(events, events.length < 1024, page.now());
        activity.sample(eventCounters(data.properties.Counters), data.properties.StartTime, page.now());
        page.empty = "";
        say(_("Live"));
        soon();
        loadFocus();
        await follower.run(own);
    } catch (e) {
        if (page.session !== own)
            return;
        own.close();
        const denied = e.name === errors.denied || e.problem === "access-denied";
        stop(denied ? "denied" : "hung");
        if (!denied) { // it may be about to leave the bus, which watch hears
            page.lookForBus();
            setTimeout(() => page.session === own && connect(owner), 2000);
        }
    }
}

// loadFocus gets all events that are kept of what is selected.
async function loadFocus() {
    const { selected } = choice, { session } = page;
    focus.clear();
    focus.ready = false;
    focus.filter(eventFilter(choice));
    if (!selected || !session)
        return;
    let events = [];
    try {
        events = await follower.history(session, filterOf(selected));
    } catch {
        // What the stream has is better than nothing; why it failed connect hears, too.
    }
    if (choice.selected !== selected)
        return;
    focus.add(events);
    focus.add(stream.after(events).filter(e => covers(selected, e)));
    focus.ready = true;
    soon();
}

// --- choices

// choose changes choices, and all that follows from them.
function choose(changes) {
    const before = { ...choice };
    Object.assign(choice, changes);
    if (!same(before.selected, choice.selected)) {
        page.opened = null;
        loadFocus();
    }
    if (before.from !== choice.from)
        begin(choice.from);
    const passes = eventFilter(choice);
    stream.filter(passes);
    focus.filter(passes);
    page.rendered = page.shown().added;
    page.views.events.grid.scrollTop = 0;
    if ($("text").value !== choice.text)
        $("text").value = choice.text;
    $("from").value = choice.from;
    keepLocation();
    soon();
}

// begin fills the stream anew.
function begin(from) {
    stream.clear();
    follower.pause(false);
    follower.start(from);
}

function isSelected(row) {
    const s = choice.selected;
    return Boolean(s) && (s.veth ? row.veth === s.veth : row.pool === (s.pool ?? "") && row.id === (s.id ?? ""));
}

// select shows the events of a row: of its container, or of a veth whose owner is not known.
function select(row) {
    const of = row.pool || row.id ? { pool: row.pool, id: row.id } : { veth: row.veth };
    choose({ selected: isSelected(row) ? null : of, span: null });
}

// open shows all that is known of an event, or no longer.
function open(e) {
    page.opened = e.gap || page.opened === e ? null : e;
    soon();
}

// pick shows the events of a span of time, of all that are kept.
function pick(from, to) {
    const there = stream.lines.length > 0 && stream.lines[0].time < from;
    choose({ span: [from, to], from: there ? choice.from : "oldest" });
}

function pause(paused) {
    follower.pause(paused);
    say(paused ? _("Paused") : _("Live"));
    keepLocation();
    soon();
}

// place returns the options of the address for what is shown.
function place() {
    return optionsOf(choice, follower.paused ? pausedOf({ paused: follower.cursor }) : "");
}

function keepLocation() {
    const { options } = cockpit.location, wanted = place();
    if (!same(wanted, optionsOf(choiceOf(options), pausedOf(options))))
        cockpit.location.replace([], wanted);
}

function readLocation() {
    const { options } = cockpit.location, paused = pausedOf(options);
    if (same(optionsOf(choiceOf(options), paused), place()))
        return;
    choose(choiceOf(options));
    if (paused && paused !== follower.cursor)
        begin(paused);
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

// --- the document

let dirty = false;

// soon renders with the next frame.
function soon() {
    if (!dirty && !document.hidden)
        requestAnimationFrame(frame);
    dirty = true;
}

function frame() {
    dirty = false;
    render(page);
}

page.views = makeViews(page);
page.timeline = new Timeline($("timeline"), $("readout"), pick);

function copy() {
    const done = () => say(_("Copied"));
    // Only a page that came by https has a clipboard.
    (navigator.clipboard?.writeText($("command-text").textContent) ?? Promise.reject()).then(done, () => {
        window.getSelection().selectAllChildren($("command-text"));
        document.execCommand("copy");
        done();
    });
}

// escape closes what was opened last.
function escape() {
    if (toggleHealth(false))
        $("chips").firstElementChild.focus();
    else if (page.opened)
        open(page.opened);
    else if (choice.selected || choice.span)
        choose({ selected: null, span: null });
    soon();
}

function listen() {
    $("text").addEventListener("input", () => choose({ text: $("text").value }));
    $("from").addEventListener("change", () => choose({ from: $("from").value, span: null }));
    $("pause").addEventListener("click", () => pause(!follower.paused));
    $("trouble").addEventListener("click", () => choose({ trouble: !choice.trouble }));
    $("copy").addEventListener("click", copy);
    $("fresh").addEventListener("click", () => {
        page.views.events.grid.scrollTop = 0;
        if (follower.paused)
            pause(false);
        soon();
    });
    for (const [tab, other] of [["interfaces", "containers"], ["containers", "interfaces"]]) {
        $(`tab-${tab}`).addEventListener("click", () => choose({ tab }));
        $(`tab-${tab}`).addEventListener("keydown", e => {
            if (e.key !== "ArrowLeft" && e.key !== "ArrowRight")
                return;
            choose({ tab: other });
            render(page);
            $(`tab-${other}`).focus();
        });
    }
    for (const { grid } of Object.values(page.views))
        for (const event of ["scroll", "moved"])
            grid.addEventListener(event, soon);
    $("chips").addEventListener("click", soon);
    document.addEventListener("keydown", e => e.key === "Escape" && escape());
    window.addEventListener("resize", redraw);
    cockpit.addEventListener("locationchanged", readLocation);
    cockpit.addEventListener("visibilitychange", hide);
    document.addEventListener("visibilitychange", hide);
}

function redraw() {
    page.stale = true;
    soon();
}

// hide stops all traffic while the page is out of sight.
function hide() {
    follower.hide(Boolean(cockpit.hidden) || document.hidden);
    if (dirty && !document.hidden)
        requestAnimationFrame(frame);
}

// dress follows the shell's choice of light or dark.
function dress() {
    const style = localStorage.getItem("shell:style") || "auto";
    const dark = style === "dark" || style === "auto" && window.matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.classList.toggle("dark", dark);
    redraw();
}

// reloadOnChange loads the page again when administrative access is given or taken: then another bridge talks to the bus.
function reloadOnChange(admin) {
    let { allowed } = admin;
    admin.addEventListener("changed", () => {
        if (allowed !== null && allowed !== admin.allowed)
            window.location.reload();
        allowed = admin.allowed;
    });
}

cockpit.translate();
$("text").placeholder = _("Filter: tank:101, eth0, veth…");
initHealth();
listen();
dress();
for (const event of ["storage", "cockpit-style"])
    window.addEventListener(event, dress);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);
reloadOnChange(cockpit.permission({ admin: true }));
cockpit.user().then(info => { page.user = info.name; soon() });
readLocation();
hide();
watch();
setInterval(redraw, 1000); // how long something lasts
