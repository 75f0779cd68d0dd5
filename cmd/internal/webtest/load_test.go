package webtest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// TestManyInterfaces wants 2,000 interfaces to be as easy as two, with few of them in the document.
func TestManyInterfaces(t *testing.T) {
	s := started(t)
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

// TestBurst wants the page to take a burst or to say what it skipped of it, and to end with what is so. A slow
// browser has to skip.
func TestBurst(t *testing.T) {
	for name, slowness := range map[string]float64{"quick": 1, "slow": 30} {
		t.Run(name, func(t *testing.T) {
			s := started(t)
			here, inside := s.pair("veth101", "tank", "101", "eth0")
			b := s.open("")
			b.row("events", "1") // what it begins with is behind it
			b.run(emulation.SetCPUThrottlingRate(slowness))
			const burst = 20000
			s.reportMany(burst, "probe", "n", "1")
			s.up(here, inside)
			s.report("state", "pool", "tank", "id", "101", "state", "running")
			b.row("interfaces", "veth101", "tank:101", "eth0", "veth101", "up")
			b.click("#tab-containers")
			b.row("containers", "tank:101", "tank:101", "running")
			b.state("live")
			// Each event is there, or counted by the gap.
			b.untilText("all are accounted for", `(() => {
				const number = text => Number(text.match(/[\d,]+/)?.[0].replaceAll(",", "") ?? 0);
				return number(document.querySelector("#stream-missing").textContent) + number(document.querySelector("#stream-count").textContent);
			})()`, s.lastSequence)
			said := b.text(`document.querySelector("#status").textContent`)
			t.Logf("the page said %q; it has %s events", said, b.text(`document.querySelector("#stream-count").textContent`))
			if slowness > 1 && !strings.Contains(said, "skipped, too fast to show") && !strings.Contains(said, "no longer kept") {
				t.Error("a slow browser did not skip")
			}
			if n, err := strconv.Atoi(b.text(`document.querySelectorAll("*").length`)); err != nil || n > 2000 {
				t.Errorf("the document has %d elements, %v", n, err)
			}
		})
	}
}
