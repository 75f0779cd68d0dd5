package webtest

import "testing"

// TestInterfaces wants what happens to a veth to be seen in the page.
func TestInterfaces(t *testing.T) {
	s := started(t)
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
