// Follower pulls events, lists and properties of the service, and hands them to the page. It outlives
// sessions: its cursor is kept while the service restarts, while the page is paused or out of sight.

import { errors } from "./service.js";
import { parseContainer, parseEvents, parseInterface, split } from "./model.js";

const mostEvents = 1024, newest = 200;
const waitMsec = 20000; // how long a page that was left holds a call
const restMsec = 80; // after a reply that was not full, so that events are pulled by the dozen
const behindMsec = 2000; // how long the page may be behind before it skips
const refreshMsec = 2000;

const sleep = msec => new Promise(resolve => setTimeout(resolve, msec));

export class Follower {
    // page has the functions events, gap, properties, interfaces, containers and paused.
    constructor(page) {
        this.page = page;
        this.paused = false;
        this.hidden = false;
        this.wakers = [];
        this.turn = 0;
        this.start("newest");
    }

    // start begins anew: from now, the newest, the oldest, or paused at a cursor.
    start(from) {
        this.turn++;
        this.from = from;
        this.cursor = "";
        this.replayTo = 0;
        this.fullSince = 0;
        this.abandon?.();
        this.wake();
    }

    pause(paused) {
        this.paused = paused;
        if (!paused)
            this.replayTo = Infinity; // until the first reply that is not full
        this.wake();
    }

    hide(hidden) {
        this.hidden = hidden;
        this.wake();
    }

    wake() {
        for (const waker of this.wakers.splice(0))
            waker();
    }

    // kick has the lists refreshed soon.
    kick() {
        this.kicked = true;
        this.wake();
    }

    changed() {
        return new Promise(resolve => this.wakers.push(resolve));
    }

    // run follows until the session fails, and throws why.
    run(session) {
        return Promise.race([this.follow(session), this.refresh(session)]);
    }

    async follow(session) {
        while (!session.closed) {
            if (this.hidden || this.paused && (this.cursor || !this.from.includes(":"))) {
                await this.changed();
                continue;
            }
            const begun = new Promise(resolve => { this.abandon = resolve });
            try {
                await Promise.race([this.cursor ? this.pull(session, this.turn) : this.begin(session, this.turn), begun]);
            } catch (e) {
                if (e.name === errors.limits)
                    await sleep(1000);
                else if (e.name === errors.gone || e.name === errors.cursor)
                    await this.jump(session, "gone");
                else
                    throw e;
            }
        }
    }

    async begin(session, turn) {
        const properties = await session.properties();
        if (turn !== this.turn)
            return;
        this.replayTo = properties.LastSequence;
        if (this.from.includes(":"))
            await this.beginPaused(session, turn);
        else
            this.cursor = { now: properties.Cursor, oldest: "oldest" }[this.from] ?? cursorAt(properties, beforeNewest(properties));
    }

    // beginPaused gets the events before a cursor, and pauses there.
    async beginPaused(session, turn) {
        const [epoch, at] = split(this.from);
        let events = [], gone = false;
        try {
            events = parseEvents(await session.wait(`${epoch}:${Math.max(at - newest, 0)}`, {}, newest, 0));
        } catch (e) {
            if (e.name !== errors.gone && e.name !== errors.cursor)
                throw e;
            gone = true;
        }
        if (turn !== this.turn)
            return;
        this.cursor = this.from;
        this.pause(true);
        if (gone)
            this.page.gap(0, "gone");
        this.page.events(events.filter(e => e.seq <= at));
        this.page.paused();
    }

    async pull(session, turn) {
        const reply = await session.wait(this.cursor, {}, mostEvents, waitMsec);
        // What came while the page was paused is pulled again.
        if (turn !== this.turn || this.paused || this.hidden)
            return;
        const events = parseEvents(reply), [, at] = split(reply[0]);
        [this.cursor] = reply;
        this.page.events(events);
        if (events.length < mostEvents) {
            this.fullSince = this.replayTo = 0;
            await sleep(restMsec);
        } else if (at >= this.replayTo) {
            this.fullSince ||= performance.now();
            if (performance.now() - this.fullSince > behindMsec)
                await this.jump(session, "fast");
        }
    }

    // jump goes on shortly before the newest event, and tells the page how many it left out. A cursor beyond the
    // newest event, which an address may hold, leaves out none.
    async jump(session, why) {
        const { turn } = this, properties = await session.properties();
        if (turn !== this.turn)
            return;
        const [epoch, at] = split(this.cursor);
        const to = beforeNewest(properties);
        this.fullSince = this.replayTo = 0;
        if (properties.Epoch !== epoch)
            this.page.gap(0, "epoch");
        else if (to > at)
            this.page.gap(to - at, why);
        else if (at <= properties.LastSequence)
            return;
        this.cursor = cursorAt(properties, to);
    }

    // refresh gets properties every other second, and the lists when they changed.
    async refresh(session) {
        let revision = -1, last = -1, rows = 0, listed = 0;
        while (!session.closed) {
            if (this.hidden) {
                await this.changed();
                continue;
            }
            this.kicked = false;
            const properties = await session.properties();
            this.page.properties(properties);
            const pause = rows < 300 ? 0 : 3000;
            if (!this.fullSince && performance.now() - listed >= pause) {
                if (revision !== properties.InterfacesRevision) {
                    const interfaces = await session.interfaces();
                    this.page.interfaces(interfaces.map(parseInterface));
                    rows = interfaces.length;
                    revision = properties.InterfacesRevision;
                    listed = performance.now();
                }
                if (last !== properties.LastSequence) {
                    const containers = await session.containers();
                    this.page.containers(containers.map(parseContainer));
                    last = properties.LastSequence;
                    rows = Math.max(rows, containers.length);
                }
            }
            await this.rest(rows < 300 ? 200 : 1000);
        }
    }

    // rest waits until the next refresh, but at least so long.
    async rest(least) {
        await sleep(least);
        const over = sleep(refreshMsec - least);
        let waiting = true;
        over.then(() => { waiting = false });
        while (waiting && !this.kicked)
            await Promise.race([over, this.changed()]);
        this.wake(); // so that wakers do not pile up
    }

    // history returns the events that are kept and pass a filter.
    async history(session, filter) {
        const all = [];
        for (let cursor = "oldest", more = true; more;) {
            const reply = await session.wait(cursor, filter, mostEvents, 0), events = parseEvents(reply);
            [cursor] = reply;
            more = events.length > 0;
            all.push(...events);
        }
        return all;
    }
}

// beforeNewest returns the number before the newest events.
const beforeNewest = ({ LastSequence, OldestSequence }) => Math.max(LastSequence - newest, OldestSequence - 1, 0);

const cursorAt = ({ Epoch }, at) => `${Epoch}:${at}`;
