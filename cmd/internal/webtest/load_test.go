package webtest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// TestManyInterfaces shows 2,000 interfaces, with only the visible ones in the document.
func TestManyInterfaces(t *testing.T) {
	s := startScene(t)
	const pairs = 1000
	var last int
	for i := range pairs {
		last, _ = s.pair(fmt.Sprintf("v%d", i), "", "", "")
	}
	b := s.open("")
	b.until("all of them", `document.querySelector("#lists-count").textContent === "2,000"`)
	b.row("interfaces", "v0")
	must(t, s.host.Rename(last, "zzz"))
	b.run(chromedp.Evaluate(`document.querySelector("#interfaces-grid").scrollTop = 1e9`, nil))
	b.row("interfaces", "zzz")
	b.noRow("interfaces", "v0")
	if n, err := strconv.Atoi(b.text(`document.querySelectorAll("*").length`)); err != nil || n > 2000 {
		t.Errorf("the document has %d elements, %v", n, err)
	}
	b.fill("#text", "v77p")
	b.until("one pair of them", names("interfaces")+` === "v77 v77p"`)
}

// TestBurst checks that after a burst the page shows each event or says how many it skipped, and ends
// with the current state. A slow browser has to skip events.
func TestBurst(t *testing.T) {
	for name, slowness := range map[string]float64{"quick": 1, "slow": 30} {
		t.Run(name, func(t *testing.T) {
			s := startScene(t)
			here, inside := s.pair("veth101", "tank", "101", "eth0")
			b := s.open("")
			b.row("events", "1") // the page has loaded
			b.run(emulation.SetCPUThrottlingRate(slowness))
			const burst = 20000
			s.reportMany(burst, "probe", "n", "1")
			s.up(here, inside)
			s.report("state", "pool", "tank", "id", "101", "state", "running")
			b.row("interfaces", "veth101", "tank:101", "eth0", "veth101", "up")
			b.click("#tab-containers")
			b.row("containers", "tank:101", "tank:101", "running")
			b.state("live")
			// Each event is in the table or counted as missing.
			b.untilText("all are accounted for", `(() => {
				const number = text => Number(text.match(/[\d,]+/)?.[0].replaceAll(",", "") ?? 0);
				return number(document.querySelector("#stream-missing").textContent) + number(document.querySelector("#stream-count").textContent);
			})()`, s.lastSequence)
			status := b.text(`document.querySelector("#status").textContent`)
			t.Logf("the page shows the status %q and %s events", status, b.text(`document.querySelector("#stream-count").textContent`))
			if slowness > 1 && !strings.Contains(status, "skipped, too fast to show") && !strings.Contains(status, "no longer kept") {
				t.Error("a slow browser did not skip")
			}
			if n, err := strconv.Atoi(b.text(`document.querySelectorAll("*").length`)); err != nil || n > 2000 {
				t.Errorf("the document has %d elements, %v", n, err)
			}
		})
	}
}
