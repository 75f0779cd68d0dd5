import assert from "node:assert/strict";
import { test } from "node:test";

import { Activity, eventCounters, slotMsec, slots } from "../page/activity.js";
import { choiceOf, nothing, optionsOf, pausedOf } from "../page/choice.js";
import { Stream } from "../page/stream.js";

const events = (from, to, type = "x") => Array.from({ length: to - from + 1 }, (_, i) => ({ key: `e${from + i}`, seq: from + i, type, time: 0 }));

test("the stream is in order, and takes each event once", () => {
    const stream = new Stream(100);
    stream.add(events(1, 3));
    stream.add(events(2, 4));
    stream.gap(5, "fast");
    stream.add(events(10, 11));
    assert.deepEqual(stream.lines.map(l => l.seq), [1, 2, 3, 4, 0, 10, 11]);
    assert.equal(stream.missing, 5);
    stream.gap(0, "epoch");
    stream.add(events(1, 1));
    assert.deepEqual(stream.lines.slice(-2).map(l => l.seq), [0, 1], "numbers begin anew");
});

test("events of another epoch do not hide those of this one", () => {
    const of = (epoch, from, to) => events(from, to).map(e => ({ ...e, epoch }));
    const stream = new Stream(100);
    stream.add(of("a", 1, 9));
    stream.gap(0, "epoch");
    stream.add(of("b", 1, 2));
    for (const [history, want] of [[of("b", 1, 2), "b1 b2 b3"], [[], "a1 a2 a3 a4 a5 a6 a7 a8 a9 b1 b2 b3"]]) {
        const focus = new Stream(100);
        focus.add(history);
        focus.add(stream.after(history));
        focus.add(of("b", 2, 3));
        assert.equal(focus.lines.map(l => l.epoch + l.seq).join(" "), want);
    }
});

test("the stream is bounded, and so is what it shows", () => {
    const stream = new Stream(2000);
    stream.filter(e => e.seq % 2 === 0);
    for (let i = 0; i < 50; i++)
        stream.add(events(i * 100 + 1, i * 100 + 100));
    assert.ok(stream.lines.length <= 2000 + 1024 && stream.lines.at(-1).seq === 5000);
    assert.equal(stream.shown.length, stream.lines.filter(e => e.seq % 2 === 0).length);
    assert.ok(stream.shown[0].seq >= stream.lines[0].seq);
    assert.equal(stream.added, 2500);
});

test("activity counts by the counters", () => {
    const a = new Activity(), now = 1000 * slotMsec;
    a.fill([{ time: now - 5 * slotMsec, type: "old" }], true, now);
    a.sample({ x: 10 }, 1, now);
    a.sample({ x: 13, y: 1 }, 1, now + slotMsec);
    a.sample({ x: 2 }, 2, now + 2 * slotMsec); // a restart: they count from 0 again
    const { bars, most, types, known } = a.bars(now + 2 * slotMsec);
    assert.deepEqual(bars.slice(-3), [{}, { x: 3, y: 1 }, { x: 2 }]);
    assert.deepEqual([bars.at(-8).old, most, known], [1, 4, 0]);
    assert.deepEqual(types, ["old", "x", "y"]);
});

test("activity does not make up what it does not know", () => {
    const a = new Activity(), now = 1000 * slotMsec;
    a.fill([{ time: now - 10 * slotMsec, type: "x" }], false, now);
    a.sample({ x: 0 }, 1, now);
    assert.equal(a.bars(now).known, slots - 10);
    a.sample({ x: 1000 }, 1, now + 100 * slotMsec); // the page was out of sight
    const { bars, known } = a.bars(now + 100 * slotMsec);
    assert.equal(known, slots - 1);
    assert.ok(bars.every(bar => !bar.x));
    a.sample({ x: 1005 }, 1, now + 102 * slotMsec);
    assert.deepEqual(a.bars(now + 102 * slotMsec).bars.slice(-2), [{ x: 3 }, { x: 2 }], "spread over the time");
});

test("there are few types", () => {
    const a = new Activity();
    a.sample({}, 1, slotMsec);
    a.sample(eventCounters(Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`events_t${i}`, i + 1]).concat([["lapped", 9]]))), 1, 2 * slotMsec);
    const { types, bars } = a.bars(2 * slotMsec);
    assert.equal(types.length, 8);
    assert.equal(Object.values(bars.at(-1)).reduce((sum, n) => sum + n), 50 * 51 / 2);
});

test("an address brings the choice back, and nothing else", () => {
    const choice = { ...nothing, tab: "containers", trouble: true, text: "a b", types: ["state"], from: "oldest", selected: { pool: "tank", id: "101" } };
    assert.deepEqual(choiceOf(optionsOf(choice, "")), choice);
    assert.deepEqual(optionsOf(nothing, ""), {});
    assert.deepEqual(choiceOf({ tab: "x", from: "x", q: ["a"], type: "state", pool: 1, id: "", other: "x" }), { ...nothing, types: ["state"] });
    assert.equal(choiceOf({ q: "y".repeat(10000) }).text.length, 200);
    assert.equal(pausedOf({ paused: "0a1b:12" }), "0a1b:12");
    for (const paused of ["oldest", "a:b", ":1", "a:1:2x", ["a:1"], undefined])
        assert.equal(pausedOf({ paused }), "");
});
