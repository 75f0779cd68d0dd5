package webtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/osctl/eventd/netwatch/nstest"
)

// TestInterfaces checks that the page shows each change of a veth.
func TestInterfaces(t *testing.T) {
	s := startScene(t)
	b := s.open("")
	b.state("live")
	here, inside := s.pair("veth101", "tank", "101", "eth0")
	b.row("interfaces", "veth101", "tank:101", "eth0", "veth101", "down")
	s.up(here, inside)
	b.row("interfaces", "veth101", "tank:101", "eth0", "veth101", "up")
	must(t, s.host.Down(inside))
	b.row("interfaces", "veth101", "tank:101", "eth0", "veth101", "no-carrier")
	must(t, s.host.Down(here))
	must(t, s.host.Rename(here, "veth999"))
	b.row("interfaces", "veth999", "tank:101", "eth0", "veth999", "down")
	b.noRow("interfaces", "veth101")
	must(t, s.host.Delete(here))
	b.noRow("interfaces", "veth999")
	b.until("no interfaces", `document.querySelector("#interfaces .none").textContent.includes("No interfaces yet")`)
}

// names returns a JavaScript expression for the names of a table's rows in their order, separated by
// blanks.
func names(table string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("#%s [data-name]")].sort((a, b) => a.ariaRowIndex - b.ariaRowIndex).map(row => row.dataset.name).join(" ")`, table)
}

// TestContainers checks the table of containers: those in trouble come first.
func TestContainers(t *testing.T) {
	s := startScene(t)
	b := s.open("#/?tab=containers")
	b.state("live")
	b.until("no containers", `document.querySelector("#containers .none").textContent.includes("No containers yet")`)
	for id, state := range map[string]string{"9": "running", "10": "running", "101": "error", "102": "stopped", "103": "starting"} {
		s.report("state", "pool", "tank", "id", id, "state", state)
	}
	b.row("containers", "tank:103", "tank:103", "starting")
	b.until("trouble first", names("containers")+` === "tank:101 tank:103 tank:9 tank:10 tank:102"`)
	b.click("#trouble")
	b.until("only trouble", names("containers")+` === "tank:101 tank:103"`)
	b.click("#trouble")
	s.report("db", "object", "container", "pool", "tank", "id", "101", "action", "remove")
	b.noRow("containers", "tank:101")
	s.report("state", "pool", "tank", "id", "103", "state", "running")
	b.row("containers", "tank:103", "tank:103", "running")
	s.report("ct_info", "pool", "tank", "id", "9", "name", "web")
	b.row("containers", "tank:9", "tank:web", "running")
	s.report("state", "pool", "tank", "id", "9", "state", "frozen")
	b.until("the event has the name", `document.querySelector("#events [aria-rowindex='2']").textContent.includes("tank:web")`)
}

// TestFilter checks that filters apply to old and new events, that the shown command matches them, and
// that reloading the address restores them.
func TestFilter(t *testing.T) {
	s := startScene(t)
	s.pair("veth101", "tank", "101", "eth0")
	s.report("state", "pool", "tank", "id", "101", "state", "running")
	s.report("state", "pool", "tank", "id", "102", "state", "running")
	b := s.open("#/?from=now")
	b.state("live")
	s.report("state", "pool", "tank", "id", "102", "state", "stopped")
	b.until("events from now on", names("events")+` === "4"`)

	b.click(`#interfaces [data-name="veth101"]`)
	b.until("those of the container, also from before", names("events")+` === "2 1"`)
	b.until("the command", `document.querySelector("#command-text").textContent === "osctl-eventctl monitor tank:101 --since oldest"`)
	s.report("state", "pool", "tank", "id", "102", "state", "running")
	s.report("state", "pool", "tank", "id", "101", "state", "stopped")
	b.until("and what comes", names("events")+` === "6 2 1"`)
	b.click(`#events [data-name="5"], #events [data-name="6"]`)
	b.until("the details", `!document.querySelector("#details").hidden`)
	b.click("#scope .scope")
	b.until("they are of an event that may be out of sight", `document.querySelector("#details").hidden`)
	b.click(`#interfaces [data-name="veth101"]`)
	b.click(`#types [data-type="ct_netif"]`)
	b.until("of a type", names("events")+` === "1"`)
	b.until("the command", `document.querySelector("#command-text").textContent === "osctl-eventctl monitor tank:101 --type ct_netif --since oldest"`)
	b.until("the address", `location.hash === "#/?pool=tank&id=101&type=ct_netif&from=now"`)

	b.run(chromedp.Reload())
	b.until("the same again", names("events")+` === "1"`)
	b.click("#scope .scope")
	b.click(`#types [data-type="ct_netif"]`)
	b.fill("#from", "oldest")
	b.until("all that are kept", names("events")+` === "6 5 4 3 2 1"`)
	b.fill("#text", "TANK:102 running")
	b.until("those with all words", names("events")+` === "5 3"`)
	b.fill("#text", "nothing like that")
	b.until("nothing matches", `document.querySelector("#events .none").textContent.includes("Nothing matches") && document.querySelector("#interfaces .none").textContent.includes("Nothing matches")`)
	b.click("#events .none button")
	b.until("all again", names("events")+` === "6 5 4 3 2 1"`)
}

// TestPause checks that a paused page does not change, and loses no events.
func TestPause(t *testing.T) {
	s := startScene(t)
	s.report("probe", "n", "1")
	b := s.open("")
	b.until("the event", names("events")+` === "1"`)
	b.until("a call is waiting for the next one", "performance.now() > "+b.text("performance.now() + 500"))
	b.click("#pause")
	b.state("paused")
	s.report("probe", "n", "2")
	s.report("probe", "n", "3")
	b.until("told how many", `document.querySelector("#fresh").textContent === "2 new events: continue"`)
	b.until("but not shown", names("events")+` === "1"`)
	b.until("the address has the cursor", `location.hash.includes("paused=")`)
	b.run(chromedp.Reload())
	b.state("paused")
	b.until("paused at the same event", names("events")+` === "1"`)
	b.click("#pause")
	b.until("all of them", names("events")+` === "3 2 1"`)
	b.state("live")
	b.until("no cursor in the address", `!location.hash.includes("paused")`)
}

// TestGap checks that a page that was paused for too long says how many events it lost.
func TestGap(t *testing.T) {
	s := startScene(t, "--history", "1024")
	s.report("probe", "n", "1")
	b := s.open("")
	b.until("the event", names("events")+` === "1"`)
	b.click("#pause")
	s.reportMany(3000, "probe", "n", "2")
	b.until("told how many", `document.querySelector("#fresh").textContent === "3,000 new events: continue"`)
	b.click("#fresh")
	b.until("the newest", names("events")+`.startsWith("3001 3000")`)
	// The page continues with the newest 200 events, so it skips 2 to 2801.
	b.run(chromedp.Evaluate(`document.querySelector("#events-grid").scrollTop = 1e6`, nil))
	b.until("the gap", `document.querySelector("#events .gap").textContent === "— 2,800 events are no longer kept —"`)
	b.until("in its place", names("events")+`.endsWith("2803 2802 g1 1")`)
}

// TestCursorAhead opens an address whose cursor is ahead of the service: the page continues with the
// newest events, and does not poll in a loop.
func TestCursorAhead(t *testing.T) {
	s := startScene(t)
	s.report("probe", "n", "1")
	status, err := s.client.Properties(t.Context())
	must(t, err)
	b := s.open("#/?paused=" + status.Text("Epoch") + ":999999")
	b.state("paused")
	b.click("#pause")
	b.until("the newest", names("events")+` === "1 g1"`)
	b.state("live")
}

// TestFlash checks that rows flash when they change, but not in the first list.
func TestFlash(t *testing.T) {
	s := startScene(t)
	s.pair("veth101", "tank", "101", "eth0")
	s.report("state", "pool", "tank", "id", "101", "state", "running")
	b := openPage(t, startCockpit(t, s.bus.Address(), user{}), "#/?tab=containers", look{})
	b.run(chromedp.Evaluate(`window.flashed = []; new MutationObserver(() => flashed.push(...[...document.querySelectorAll("#containers .flash")].map(row => row.dataset.name)))
		.observe(document.body, { subtree: true, childList: true, attributes: true })`, nil))
	b.row("containers", "tank:101", "tank:101", "running")
	s.report("state", "pool", "tank", "id", "102", "state", "running")
	b.until("the one that is new", `window.flashed.includes("tank:102")`)
	if got := b.text(`[...new Set(window.flashed)].join(" ")`); got != "tank:102" {
		t.Errorf("these rows flashed: %s", got)
	}
}

// hostile returns names that root of a container may choose, and how the page shows them.
func hostile() map[string]string {
	return map[string]string{
		"<img src=x onerror=\"document.title='hacked'\">": "<img src=x onerror=\"document.title='hacked'\">",
		"a\u202eb\u2066c\x1b[31m\n":                       `a\u202eb\u2066c\x1b[31m\n`,
		"🦊🐼🐙":                                             "🦊🐼🐙",
		"עברית":                                           "\u2068עברית\u2069",
		"</script><script>throw 1</script>&amp;":          "</script><script>throw 1</script>&amp;",
		"$(reboot) `reboot` '; reboot":                    "$(reboot) `reboot` '; reboot",
	}
}

// TestHostileNames checks that the page treats names as text everywhere.
func TestHostileNames(t *testing.T) {
	s := startScene(t)
	b := s.open("#/?tab=containers")
	b.state("live")
	seq := 0
	for name, shown := range hostile() {
		s.report("state", "pool", name, "id", name, "state", name)
		s.report("ct_netif", "pool", name, "id", name, "action", "up", "name", name, "veth", name, "other", name)
		seq += 2
		b.row("containers", name+":"+name, label(shown+":"+shown, name+":"+name))
		b.row("events", fmt.Sprint(seq))
		b.until("the event's text", fmt.Sprintf(`document.querySelector('#events [data-name="%d"] :nth-child(5)').textContent.includes(%q)`, seq, shown))
		b.click(fmt.Sprintf(`#events [data-name="%d"]`, seq))
		b.until("its details", fmt.Sprintf(`[...document.querySelectorAll("#details dd")].some(dd => dd.textContent === %q)`, shown))
		b.run(chromedp.Evaluate(fmt.Sprintf(`[...document.querySelectorAll("#containers [data-name]")].find(row => row.dataset.name === %q).click()`, name+":"+name), nil))
		b.until("its history", names("events")+fmt.Sprintf(` === "%d %d"`, seq, seq-1))
		b.click("#scope .scope")
	}
	inside := nstest.New(t)
	here, err := s.host.Pair("a\u202eb🦊<i>", "<b>\u200f", inside)
	must(t, err)
	there, err := inside.Index("<b>\u200f")
	must(t, err)
	must(t, inside.Up(there))
	s.up(here)
	b.click("#tab-interfaces")
	// The service itself escapes what is not printable in names of the kernel.
	b.row("interfaces", `a\xe2\x80\xaeb🦊<i>`, "–", `<b>\xe2\x80\x8f`, `a\xe2\x80\xaeb🦊<i>`, "up")
	b.run(chromedp.Evaluate(`document.fonts.ready.then(() => { const g = document.createElement("canvas").getContext("2d");
		window.unseen = ["RedHatMono", "RedHatText"].flatMap(font => { g.font = "13px " + font + ", monospace";
			return Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)).filter(c => g.measureText(c).width < 1) }).join(""); })`, nil))
	b.until("the fonts", `window.unseen !== undefined`)
	if got := b.text("window.unseen"); got != "" {
		t.Errorf("characters without width are drawn over others: %q", got)
	}
	if got := b.text(`document.title + document.querySelectorAll("main img, main script").length`); got != "Container events0" {
		t.Errorf("a name was executed: %s", got)
	}
}

// label returns POOL:ID as the page shows it: bidi isolation covers the whole label.
func label(shown, _ string) string {
	if !strings.Contains(shown, "\u2068") {
		return shown
	}
	return "\u2068" + strings.NewReplacer("\u2068", "", "\u2069", "").Replace(shown) + "\u2069"
}

// TestKeyboard uses the page without a mouse.
func TestKeyboard(t *testing.T) {
	s := startScene(t)
	for i := range 100 {
		s.report("state", "pool", "tank", "id", fmt.Sprint(100+i), "state", "running")
	}
	b := s.open("#/?tab=containers")
	b.row("containers", "tank:100")
	b.run(chromedp.Focus("#containers-grid", chromedp.ByQuery))
	b.key(kb.ArrowDown + kb.ArrowDown + kb.Enter)
	b.until("the second one is selected", `document.querySelector("#containers .selected").dataset.name === "tank:101"`)
	b.until("its events", names("events")+` === "2"`)
	b.key(kb.Escape)
	b.until("all events", `document.querySelector("#scope").children.length === 0 && document.querySelector("#stream-count").textContent === "100"`)
	b.key(kb.End)
	b.row("containers", "tank:199")
	b.until("a screen reader knows which", `document.getElementById(document.querySelector("#containers-grid").getAttribute("aria-activedescendant")).dataset.name === "tank:199"`)
	b.run(chromedp.Focus("#chips button", chromedp.ByQuery))
	b.key(kb.Enter)
	b.until("the health", `document.querySelector("#health").textContent.includes("Epoch")`)
	b.key(kb.Escape)
	b.until("closed", `document.querySelector("#health").hidden`)
	b.run(chromedp.Focus("#timeline", chromedp.ByQuery))
	b.key(kb.End + kb.Enter)
	b.until("a span of time", `document.querySelector("#scope .scope") !== null`)
	b.run(chromedp.Focus("#tab-containers", chromedp.ByQuery))
	b.key(kb.ArrowLeft)
	b.until("the other tab", `document.activeElement.id === "tab-interfaces" && !document.querySelector("#interfaces").hidden`)
}

// TestActivity checks that the chart counts events even while the page is paused, and that the button
// copies the command.
func TestActivity(t *testing.T) {
	s := startScene(t)
	b := s.open("")
	b.state("live")
	b.click("#pause")
	b.state("paused")
	s.reportMany(5, "probe", "n", "1")
	b.until("they are counted", `document.querySelector("#timeline").getAttribute("aria-label").includes("probe 5")`)
	b.until("the legend", `document.querySelector("#legend").textContent === "probe"`)
	b.click("#pause")
	b.until("they are there", names("events")+` === "5 4 3 2 1"`)
	b.run(chromedp.Evaluate(`{ const timeline = document.querySelector("#timeline"), at = x => ({ bubbles: true, clientX: timeline.getBoundingClientRect().x + x, clientY: timeline.getBoundingClientRect().y + 5 });
		timeline.dispatchEvent(new PointerEvent("pointerdown", at(1))); timeline.dispatchEvent(new PointerEvent("pointerup", at(20))); }`, nil))
	b.until("none at the beginning of the chart", `document.querySelector("#stream-count").textContent === "0" && document.querySelector("#scope .scope") !== null`)
	b.until("the command has the time", `/^osctl-eventctl monitor --since \S+Z --until \S+Z$/.test(document.querySelector("#command-text").textContent)`)
	b.click("#copy")
	b.until("copied", `document.querySelector("#status").textContent === "Copied"`)
}
