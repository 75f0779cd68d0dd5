package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/hinshun/vt10x"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/netwatch/nstest"
)

// pictureFile is the picture that README.md shows.
const pictureFile = "live.svg"

// TestPicture draws the picture of the live view in README.md, with veths that are added, changed and
// removed. It writes the picture only with -update, because the marks depend on the time.
func TestPicture(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	host := nstest.New(t)
	d := daemontest.Start(t, programs, host, bus.Address(), nil)
	client := d.Client(t)
	peers := map[string]int{}
	for i, ct := range []string{"101", "102", "103", "105", "120", "121", "122", "204", "205", "206", "207", "210"} {
		veth, name := fmt.Sprintf("veth%s", ct), "eth0"
		ifindex, peer := bind(t, host, client, veth, []string{"tank", "dozer"}[i/7], ct, name)
		peers[ct] = peer
		for _, end := range []int{ifindex, peer} {
			if err := host.Up(end); err != nil && ct != "207" {
				t.Fatal(err)
			}
			if ct == "205" {
				break // its other end stays down
			}
		}
	}
	for ct := range peers {
		if ct != "205" {
			pool := map[bool]string{true: "dozer", false: "tank"}[ct > "200"]
			if r := ctl(t, bus.Env(), "wait", pool+":"+ct+"/eth0", "up"); r.code != 0 {
				t.Fatalf("%s: %+v", ct, r)
			}
		}
	}
	s := onScreen(t, bus, 80, 16, "list", "--watch", "--pool", "tank", "--pool", "dozer")
	s.until(t, "the whole screen", has(15, "q quit"))
	// Marks expire, so a slow test waits for each at once. The picture needs all of them.
	marked := func(mark string) {
		if !*update {
			s.untilText(t, mark)
		}
	}
	marks := []string{"* tank:103", "- dozer:206", "+ tank:300"}
	if err := host.Down(peers["103"]); err != nil {
		t.Fatal(err)
	}
	marked(marks[0])
	if err := host.Delete(peers["206"]); err != nil {
		t.Fatal(err)
	}
	marked(marks[1])
	added, peer := bind(t, host, client, "veth300", "tank", "300", "eth0")
	for _, end := range []int{added, peer} {
		if err := host.Up(end); err != nil {
			t.Fatal(err)
		}
	}
	marked(marks[2])
	lines := s.until(t, "all changes", func(lines []string) bool {
		all := strings.Join(lines, "\n")
		return !*update || !slices.ContainsFunc(marks, func(mark string) bool { return !strings.Contains(all, mark) })
	})
	lines = s.until(t, "their state", func([]string) bool {
		lines = s.lines()
		return strings.Contains(strings.Join(lines, "\n"), "no-carrier  veth103")
	})
	svg := drawSVG(s.term, 80, 16)
	for decoder := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if *update {
		if err := os.WriteFile(pictureFile, []byte(svg), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(pictureFile)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(kept), html.EscapeString(strings.TrimSpace(lines[15]))) || !strings.Contains(string(kept), "CONTAINER ↑") {
		t.Errorf("the picture is outdated: run `make man`; the screen is\n%s", strings.Join(lines, "\n"))
	}
}

// Size of one cell in the picture, in pixels.
const (
	cellWidth, cellHeight = 9, 19
	margin                = 12
)

// colourOf returns a colour of the terminal in the theme Tango.
func colourOf(c vt10x.Color) string {
	palette := [...]string{
		"#2e3436", "#cc0000", "#4e9a06", "#c4a000", "#3465a4", "#75507b", "#06989a", "#d3d7cf",
		"#555753", "#ef2929", "#8ae234", "#fce94f", "#729fcf", "#ad7fa8", "#34e2e2", "#eeeeec",
	}
	switch {
	case c == vt10x.DefaultBG:
		return "#1d2021"
	case int(c) < len(palette):
		return palette[c]
	}
	return "#d3d7cf"
}

// drawSVG draws the screen as SVG. A run of cells in one style is one text.
func drawSVG(term vt10x.Terminal, width, height int) string {
	term.Lock()
	defer term.Unlock()
	var b strings.Builder
	w, h := width*cellWidth+2*margin, height*cellHeight+2*margin
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %[1]d %[2]d\">\n", w, h)
	fmt.Fprintf(&b, "<title>osctl-eventctl list --watch</title>\n<style>text{white-space:pre}</style>\n<rect width=\"100%%\" height=\"100%%\" rx=\"8\" fill=\"%s\"/>\n", colourOf(vt10x.DefaultBG))
	b.WriteString("<g font-family=\"monospace\" font-size=\"15\" xml:space=\"preserve\">\n")
	for y := range height {
		for x := 0; x < width; {
			first, text, n := term.Cell(x, y), "", 0
			for ; x+n < width; n++ {
				cell := term.Cell(x+n, y)
				if cell.FG != first.FG || cell.BG != first.BG || cell.Mode != first.Mode {
					break
				}
				text += string(cell.Char)
			}
			left, top := margin+x*cellWidth, margin+y*cellHeight
			if first.BG != vt10x.DefaultBG {
				fmt.Fprintf(&b, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\"/>\n", left, top, n*cellWidth, cellHeight, colourOf(first.BG))
			}
			if trimmed := strings.TrimRight(text, " "); trimmed != "" {
				indent := len(trimmed) - len(strings.TrimLeft(trimmed, " "))
				trimmed = strings.TrimLeft(trimmed, " ")
				fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" textLength=\"%d\" fill=\"%s\"%s>%s</text>\n", left+indent*cellWidth, top+cellHeight-5,
					len([]rune(trimmed))*cellWidth, colourOf(first.FG), map[bool]string{true: ` font-weight="bold"`}[first.Mode&4 != 0], html.EscapeString(trimmed))
			}
			x += n
		}
	}
	b.WriteString("</g>\n</svg>\n")
	return b.String()
}
