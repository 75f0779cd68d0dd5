import assert from "node:assert/strict";
import { test } from "node:test";

import { Follower } from "../page/follow.js";

// Service is a session of a service that keeps all events. Its calls wait until answer is called.
class Service {
    constructor() {
        this.last = 0;
        this.calls = [];
    }

    async properties() {
        return { Epoch: "e", LastSequence: this.last, OldestSequence: 1, Cursor: `e:${this.last}` };
    }

    wait(cursor) {
        return new Promise(resolve => this.calls.push({ cursor, resolve }));
    }

    answer() {
        const { cursor, resolve } = this.calls.shift();
        const at = Number(cursor.split(":")[1]);
        const to = Math.min(at + 1024, this.last);
        resolve([`e:${to}`, Array.from({ length: to - at }, (_, i) => ["x", "", "", "", "uid:0", at + i + 1, 1e15, {}])]);
    }
}

const soon = () => new Promise(resolve => setTimeout(resolve, 150));

test("a page that was left before the first event skips none", async () => {
    const seen = [], service = new Service();
    const follower = new Follower({ events: events => seen.push(...events.map(e => e.seq)), gap: count => seen.push(-count), paused() {} });
    follower.follow(service);
    await soon();
    follower.hide(true);
    service.last = 500;
    service.answer();
    await soon();
    follower.hide(false);
    await soon();
    service.answer();
    await soon();
    assert.equal(seen.length, 500);
    service.closed = true;
    service.last++;
    service.answer();
});
