import assert from "node:assert/strict";
import { test } from "node:test";

import { ago, clip, clock, compareNatural, quote, show } from "../page/text.js";

test("what cannot be seen, or moves the rest, is shown as an escape", () => {
    for (const [text, want] of [
        ["eth0", "eth0"], ["a b", "a b"], ["<b>&amp;", "<b>&amp;"], ["🦊", "🦊"], ["日本", "日本"],
        ["\x1b[31m", "\\x1b[31m"], ["a\nb\tc\r", "a\\nb\\tc\\r"], ["\x00\x7f\x9b", "\\x00\\x7f\\x9b"],
        ["a\u202eb\u2066\u200f", "a\\u202eb\\u2066\\u200f"], ["\u200b\ufeff\u00ad", "\\u200b\\ufeff\\xad"], ["\u{e0041}", "\\U000e0041"],
        ["\u00a0\u2028", "\\xa0\\u2028"], ["\ud800", "\\ud800"], ["\ue000", "\\ue000"],
    ])
        assert.equal(show(text), want);
});

test("text that runs right to left is isolated", () => {
    assert.equal(show("שלום"), "\u2068שלום\u2069");
    assert.equal(show("\u2069שלום"), "\u2068\\u2069שלום\u2069"); // it cannot end its isolation
});

test("a word for a shell stays one word", () => {
    for (const [text, want] of [
        ["tank:101", "tank:101"], ["", "''"], ["a b", "'a b'"], ["it's", "'it'\\''s'"], ["$(x)`y`", "'$(x)`y`'"], ["a\nb", "$'a\\x0ab'"], ["é'\\", "$'\\xc3\\xa9\\x27\\x5c'"],
    ])
        assert.equal(quote(text), want);
});

test("times and durations", () => {
    const t = new Date(2026, 10, 29, 5, 4, 3, 21).getTime();
    assert.equal(clock(t, t), "05:04:03.021");
    assert.equal(clock(t, t + 86400000), "11-29 05:04:03.021");
    for (const [seconds, want] of [[-1, "0 s"], [59, "59 s"], [60, "1 min"], [7260, "2 h 1 min"], [180000, "2 d 2 h"]])
        assert.equal(ago(seconds * 1000), want);
});

test("numbers in names count as numbers", () => {
    assert.ok(compareNatural("ct9", "ct10") < 0);
    assert.equal(clip("abc", 3), "abc");
    assert.equal(clip("abcd", 3), "abc…");
});
