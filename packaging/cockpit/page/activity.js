// Activity counts events by type and by time for a chart. It takes the counters of the service, which
// stay right while the page shows nothing of a burst or is paused.

export const slotMsec = 2000, slots = 150;
const maxTypes = 7; // that have a colour of their own

export class Activity {
    constructor() {
        this.reset();
    }

    reset() {
        this.slots = new Map(); // number of the slot → {type: count}
        this.known = 0; // the first slot of which all is known
        this.at = 0; // the slot of the last sample
        this.total = {};
    }

    // fill counts events that came before the first sample. complete tells whether they are all since
    // the chart begins.
    fill(events, complete, now) {
        const first = Math.floor(now / slotMsec) - slots;
        this.known = complete || events.length === 0 ? first : Math.floor(events[0].time / slotMsec) + 1;
        for (const e of events)
            if (e.time <= now)
                this.count(Math.floor(e.time / slotMsec), e.type, 1);
    }

    // sample takes the counters of now. After a pause that is longer than a few slots the time between is not known.
    sample(counters, started, now) {
        const slot = Math.floor(now / slotMsec);
        if (this.at && slot - this.at > 15) {
            this.reset();
            this.known = slot;
        } else if (this.at) {
            for (const [type, count] of Object.entries(counters)) {
                const before = started === this.started ? this.counters[type] ?? 0 : 0;
                this.spread(type, count - before, Math.min(this.at + 1, slot), slot);
            }
        }
        this.at = slot;
        this.started = started;
        this.counters = counters;
        for (const old of this.slots.keys())
            if (old < slot - slots)
                this.slots.delete(old);
    }

    // spread counts events over slots alike.
    spread(type, count, from, to) {
        for (let slot = from; slot <= to && count > 0; slot++) {
            const part = Math.ceil(count / (to - slot + 1));
            this.count(slot, type, part);
            count -= part;
        }
    }

    count(slot, type, n) {
        const counts = this.slots.get(slot) ?? {};
        counts[type] = (counts[type] ?? 0) + n;
        this.slots.set(slot, counts);
        this.total[type] = (this.total[type] ?? 0) + n;
    }

    // types returns the types of events, the most frequent ones, by name; others count as "…".
    types() {
        const all = Object.keys(this.total).sort((a, b) => this.total[b] - this.total[a] || (a < b ? -1 : 1));
        const few = all.slice(0, maxTypes).sort();
        return all.length > few.length ? [...few, "…"] : few;
    }

    // bars returns the counts of the slots up to now, oldest first, each {type: count}, and the largest sum.
    bars(now) {
        const last = Math.floor(now / slotMsec), types = this.types();
        let most = 0;
        const bars = Array.from({ length: slots }, (_, i) => {
            const bar = {};
            let sum = 0;
            for (const [type, n] of Object.entries(this.slots.get(last - slots + 1 + i) ?? {})) {
                const name = types.includes(type) ? type : "…";
                bar[name] = (bar[name] ?? 0) + n;
                sum += n;
            }
            most = Math.max(most, sum);
            return bar;
        });
        return { bars, most, types, known: Math.max(0, this.known - (last - slots + 1)), first: (last - slots + 1) * slotMsec };
    }
}

// eventCounters returns the counters of events by type.
export function eventCounters(counters) {
    const prefix = "events_", byType = {};
    for (const [name, count] of Object.entries(counters))
        if (name.startsWith(prefix))
            byType[name.slice(prefix.length)] = count;
    return byType;
}
