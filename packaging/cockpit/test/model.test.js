import assert from "node:assert/strict";
import { test } from "node:test";

import {
    arrange, command, containerTrouble, covers, describe, eventFilter, filterOf, interfaceTrouble, nameOf, parseContainer, parseEvent, parseEvents, parseInterface, toneOf, valueText,
} from "../page/model.js";

const s = v => ({ t: "s", v });
const event = (seq, type, action, pool, id, options = {}) => parseEvent([type, action, pool, id, "netlink", seq, 1e15, options]);

test("rows and events are read", () => {
    assert.deepEqual(parseInterface([7, "veth1", "eth0", "tank", "101", "up", { since: { t: "t", v: 5000 } }]),
                     { key: "7", ifindex: 7, veth: "veth1", name: "eth0", pool: "tank", id: "101", state: "up", since: 5, ctName: "" });
    assert.equal(parseInterface([7, "veth1", "", "", "", "down", {}]).since, 0);
    const c = parseContainer(["podman", "deadbeef", "running", 5000, { source: s("cgroup"), name: s("web") }]);
    assert.deepEqual([c.key, c.since, c.source, c.ctName], ["podman:deadbeef", 5, "cgroup", "web"]);
    const e = event(9, "state", "running", "tank", "101", { pool: s("tank"), init_pid: { t: "t", v: 77 } });
    assert.deepEqual([e.seq, e.time, e.options.init_pid, e.cut], [9, 1e12, "77", false]);
    const [first] = parseEvents(["abc:9", [["x", "", "", "", "uid:0", 7, 1e15, {}]]]);
    assert.deepEqual([first.key, first.epoch, first.seq], ["abc:7", "abc", 7], "numbers begin anew in another epoch");
});

test("a container is called by its name, or a hash by its beginning", () => {
    assert.deepEqual([nameOf("101", ""), nameOf("ab".repeat(32), ""), nameOf("ab".repeat(32), "web")], ["101", "abababababab", "web"]);
});

test("values of any type are text", () => {
    for (const [value, want] of [
        [s("x"), "x"], [{ t: "b", v: true }, "true"], [{ t: "t", v: -1 }, "≥ 9007199254740992"], [{ t: "t", v: 2 ** 60 }, "≥ 9007199254740992"],
        [{ t: "v", v: s("in") }, "in"], [{ t: "as", v: ["a", "b"] }, '["a","b"]'], [{ t: "a{sv}", v: { k: s("v"), n: { t: "i", v: 1 } } }, '{"k":"v","n":1}'], [{ t: "x", v: -5 }, "-5"],
    ])
        assert.equal(valueText(value), want);
});

test("an event takes little memory", () => {
    const long = event(1, "x", "", "", "", Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`k${i}`, s("y".repeat(5000))])));
    assert.ok(JSON.stringify(long.options).length < 6000);
    assert.ok(long.cut);
});

test("trouble comes first", () => {
    const row = (key, pool, state) => ({ key, pool, id: key, veth: key, state, name: "" });
    const rows = [row("9", "tank", "up"), row("10", "tank", "up"), { ...row("7", "", "up"), id: "" }, { ...row("8", "", "down"), id: "" }, row("2", "tank", "no-carrier"), row("1", "tank", "down")];
    assert.deepEqual(arrange(rows, interfaceTrouble, () => true).map(r => r.key), ["1", "2", "8", "7", "9", "10"]);
    const states = ["stopped", "running", "starting", "error"].map(state => ({ key: state, pool: "p", id: state, state }));
    assert.deepEqual(arrange(states, containerTrouble, () => true).map(r => r.key), ["error", "starting", "running", "stopped"]);
    assert.equal(toneOf("constructor"), "plain");
});

test("what an event says beside its columns", () => {
    for (const [e, want] of [
        [event(1, "ct_netif", "up", "tank", "101", { name: s("eth0"), veth: s("v1"), ifindex: { t: "u", v: 3 } }), "eth0 (v1)"],
        [event(1, "ct_netif", "rename", "tank", "101", { name: s("eth0"), new_name: s("eth1"), veth: s("v1") }), "eth0 → eth1 (v1)"],
        [event(1, "ct_netif", "rename", "tank", "101", { name: s("e"), new_name: s("e"), veth: s("v2"), old_veth: s("v1") }), "e (v1 → v2)"],
        [event(1, "ct_netif", "down", "", "", { veth: s("v"), gone: { t: "b", v: true }, coalesced: { t: "u", v: 4 } }), "(v) [gone] [4 left out]"],
        [event(1, "management", "run", "", "12", { id: s("12"), cmd: s("ct_start"), state: s("run") }), "ct_start #12"],
        [event(1, "x", "", "", "", { "a\u202e": s("b\n") }), "a\\u202e=b\\n"],
    ])
        assert.equal(describe(e), want);
});

test("filters", () => {
    const up = event(1, "ct_netif", "up", "tank", "101", { name: s("eth0"), veth: s("veth1") });
    const pass = filter => eventFilter({ text: "", types: [], span: null, ...filter })(up);
    assert.ok(pass({}));
    assert.ok(pass({ text: " ETH0  tank:101 " }));
    assert.ok(!pass({ text: "eth0 tank:102" }));
    assert.ok(pass({ types: ["state", "ct_netif"] }));
    assert.ok(!pass({ types: ["state"] }));
    assert.ok(pass({ span: [up.time, up.time + 1] }));
    assert.ok(!pass({ span: [up.time + 1, up.time + 2] }));
    assert.ok(eventFilter({ text: "no", types: ["no"], span: [0, 0] })({ gap: true }), "gaps are always shown");
    assert.ok(covers({ pool: "tank", id: "101" }, up) && covers({ veth: "veth1" }, up) && !covers({ pool: "tank", id: "1" }, up));
    assert.deepEqual(filterOf({ pool: "tank", id: "101" }), { pool: s("tank"), id: s("101") });
});

test("the command shows the same", () => {
    const say = choice => command({ selected: null, types: [], text: "", span: null, from: "newest", ...choice });
    for (const [choice, want] of [
        [{}, "osctl-eventctl monitor"],
        [{ selected: { pool: "tank", id: "101" }, types: ["state", "db"] }, "osctl-eventctl monitor tank:101 --type state,db --since oldest"],
        [{ selected: { pool: "a:b", id: "1" } }, "osctl-eventctl monitor --pool=a:b --id=1 --since oldest"],
        [{ selected: { pool: "-x", id: "; reboot" } }, "osctl-eventctl monitor --pool=-x --id='; reboot' --since oldest"],
        [{ selected: { veth: "v1" } }, "osctl-eventctl monitor --veth=v1 --since oldest"],
        [{ from: "oldest", text: "two words" }, "osctl-eventctl monitor --since oldest | grep --line-buffered -iFe two | grep --line-buffered -iFe words"],
        [{ span: [0, 2000] }, "osctl-eventctl monitor --since 1970-01-01T00:00:00.000Z --until 1970-01-01T00:00:02.000Z"],
    ])
        assert.equal(say(choice), want);
});
