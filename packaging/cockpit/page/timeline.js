// The chart of the last minutes: a bar of colours for each slot. Dragging, or the arrow keys and Enter, picks a span of time.

import { slotMsec, slots } from "./activity.js";
import { clock } from "./text.js";
import { _, format, number } from "./i18n.js";

const colours = 8; // the custom properties --type-0 to --type-7
const labels = 18; // height of the line below the bars, in pixels

// colourOf returns the custom property for a type of event. Those of osctld have one each.
export function colourOf(type) {
    const own = { ct_netif: 0, state: 1, db: 2, management: 3, ct_exit: 4, "…": 7 };
    if (Object.hasOwn(own, type))
        return `--type-${own[type]}`;
    let hash = 0;
    for (const c of type)
        hash = (hash * 31 + c.codePointAt(0)) % 7919;
    return `--type-${4 + hash % (colours - 5)}`;
}

export class Timeline {
    // pick is called with the beginning and the end of the span that was picked, readout with a text.
    constructor(canvas, readout, pick) {
        Object.assign(this, { canvas, readout, pick, cursor: -1, drag: -1 });
        canvas.addEventListener("pointermove", e => this.point(this.slotAt(e)));
        canvas.addEventListener("pointerdown", e => { this.drag = this.slotAt(e) });
        canvas.addEventListener("pointerup", e => this.picked(this.drag, this.slotAt(e)));
        canvas.addEventListener("pointerleave", () => { this.drag = -1; this.point(-1) });
        canvas.addEventListener("blur", () => this.point(-1));
        canvas.addEventListener("keydown", e => this.key(e));
    }

    slotAt(event) {
        return Math.max(0, Math.min(slots - 1, Math.floor(event.offsetX / this.canvas.clientWidth * slots)));
    }

    key(event) {
        const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -15, PageDown: 15, Home: -slots, End: slots }[event.key];
        if (step)
            this.point(Math.max(0, Math.min(slots - 1, (this.cursor < 0 ? slots - 1 : this.cursor) + step)));
        else if (event.key === "Enter" && this.cursor >= 0)
            this.picked(Math.max(0, this.cursor - 2), Math.min(slots - 1, this.cursor + 2));
        else
            return;
        event.preventDefault();
    }

    point(slot) {
        this.cursor = slot;
        if (this.data)
            this.draw(this.data);
    }

    // picked takes a drag. One slot alone is too narrow to be hit on purpose: its neighbours are taken, too.
    picked(from, to) {
        this.drag = -1;
        if (from < 0 || !this.data)
            return;
        const [first, last] = from === to ? [from - 1, to + 1] : [Math.min(from, to), Math.max(from, to)];
        this.pick(this.data.first + first * slotMsec, this.data.first + (last + 1) * slotMsec);
    }

    draw(data) {
        this.data = data;
        const { canvas } = this, scale = window.devicePixelRatio || 1;
        const width = canvas.clientWidth, whole = canvas.clientHeight, high = whole - labels;
        if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(whole * scale))
            [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(whole * scale)];
        const style = getComputedStyle(document.documentElement), colour = name => style.getPropertyValue(name);
        const g = canvas.getContext("2d"), step = width / slots;
        g.setTransform(scale, 0, 0, scale, 0, 0);
        g.clearRect(0, 0, width, whole);
        g.fillStyle = colour("--faint");
        g.fillRect(0, 0, data.known * step, high); // nothing is known of that time
        g.font = `11px ${getComputedStyle(canvas).fontFamily}`;
        for (let minute = 0; minute <= 5; minute++) {
            const x = Math.min(width - 1, Math.round(minute / 5 * width));
            g.fillStyle = colour("--line");
            g.fillRect(x, 0, 1, high);
            g.fillStyle = colour("--dim");
            g.textAlign = minute === 5 ? "right" : "left";
            g.fillText(minute === 5 ? _("now") : format(_("−$0 min"), 5 - minute), minute === 5 ? width : x + 1, whole - 4);
        }
        for (const [i, bar] of data.bars.entries()) {
            let y = high;
            for (const type of data.types) {
                const part = (bar[type] ?? 0) / data.most * (high - 16);
                if (!part)
                    continue;
                g.fillStyle = colour(colourOf(type));
                g.fillRect(i * step, y - Math.max(part, 1), Math.max(step - 1, 1), Math.max(part, 1));
                y -= part;
            }
        }
        g.fillStyle = colour("--line");
        g.fillRect(0, high, width, 1);
        if (data.most) {
            g.fillStyle = colour("--dim");
            g.textAlign = "left";
            g.fillText(format(_("$0/s"), perSecond(data.most)), 5, 11);
        }
        if (this.cursor >= 0) {
            g.fillStyle = colour("--text");
            g.globalAlpha = 0.15;
            const [from, to] = this.drag < 0 ? [this.cursor, this.cursor] : [Math.min(this.drag, this.cursor), Math.max(this.drag, this.cursor)];
            g.fillRect(from * step, 0, (to - from + 1) * step, high);
            g.globalAlpha = 1;
        }
        this.tell(data);
    }

    // tell puts into words what the pointer is at, or else the whole.
    tell({ bars, types, first, most }) {
        const counts = bar => types.filter(type => bar[type]).map(type => `${type} ${number(bar[type])}`).join(", ");
        const at = this.cursor < 0 ? "" : `${clock(first + this.cursor * slotMsec, Date.now()).slice(0, -4)}  ${counts(bars[this.cursor]) || "0"}`;
        if (this.readout.textContent !== at)
            this.readout.textContent = at;
        const sum = {};
        for (const bar of bars)
            for (const type in bar)
                sum[type] = (sum[type] ?? 0) + bar[type];
        this.canvas.setAttribute("aria-label", format(_("Events of the last 5 minutes: $0; at most $1 a second"), counts(sum) || "0", perSecond(most)));
    }
}

function perSecond(count) {
    const rate = count / (slotMsec / 1000);
    return number(rate < 10 ? Math.round(rate * 10) / 10 : Math.round(rate));
}
