// Stream is the events that the page holds, oldest first, with gaps between them, and those of
// them that a filter passes.
export class Stream {
    // limit is how many lines it holds: the oldest go first.
    constructor(limit) {
        this.limit = limit;
        this.clear();
        this.passes = () => true;
    }

    clear() {
        this.lines = [];
        this.shown = [];
        this.added = 0; // lines that were ever shown, to tell how many are new
        this.gaps = 0;
        this.missing = 0; // events that gaps stand for
    }

    // add takes events. Those of the same epoch up to the newest one that is there are taken for repeated.
    add(events) {
        const last = this.lines.at(-1);
        for (const e of events)
            if (!last || e.epoch !== last.epoch || e.seq > last.seq)
                this.push(e);
        this.trim();
    }

    // after returns the events that may follow others: those of their epoch, or all if there are no others.
    after(events) {
        const epoch = events.at(-1)?.epoch;
        return this.lines.filter(e => !e.gap && (epoch === undefined || e.epoch === epoch));
    }

    // gap takes a line that stands for events that are not there; count is 0 where it is not known.
    // After it numbers may begin anew.
    gap(count, why) {
        this.missing += count;
        this.push({ key: `g${++this.gaps}`, gap: true, count, why, seq: 0, time: this.lines.at(-1)?.time ?? 0 });
    }

    push(line) {
        this.lines.push(line);
        if (this.passes(line)) {
            this.shown.push(line);
            this.added++;
        }
    }

    // trim forgets the oldest, many at a time.
    trim() {
        if (this.lines.length <= this.limit + 1024)
            return;
        const gone = new Set(this.lines.splice(0, this.lines.length - this.limit));
        let n = 0;
        while (n < this.shown.length && gone.has(this.shown[n]))
            n++;
        this.shown.splice(0, n);
    }

    // filter shows the lines that a function passes, from now on too.
    filter(passes) {
        this.passes = passes;
        this.shown = this.lines.filter(passes);
        this.added = this.shown.length;
    }
}
