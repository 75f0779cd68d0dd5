package webtest

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/osctl/eventd/netwatch/nstest"
)

var update = flag.Bool("update", false, "write the pictures of the page") //nolint:gochecknoglobals // a flag

// ct is a container in the pictures.
type ct struct {
	pool, id, state string
	link            string // up, no-carrier or down
}

// containersOfPictures returns the containers in the pictures.
func containersOfPictures() []ct {
	return []ct{
		{"tank", "101", "running", "no-carrier"},
		{"tank", "102", "running", "up"},
		{"tank", "103", "running", "up"},
		{"tank", "104", "starting", "up"},
		{"tank", "107", "running", "up"},
		{"tank", "110", "running", "up"},
		{"tank", "118", "running", "down"},
		{"tank", "120", "running", "up"},
		{"tank", "121", "running", "up"},
		{"dozer", "201", "running", "up"},
		{"dozer", "204", "error", "up"},
		{"dozer", "205", "running", "up"},
		{"dozer", "207", "running", "up"},
		{"dozer", "210", "stopped", ""},
	}
}

// addContainers creates the containers of the pictures.
func (s *scene) addContainers() {
	s.t.Helper()
	for _, c := range containersOfPictures() {
		s.report("management", "id", "1"+c.id, "cmd", "ct_start", "state", "run")
		if c.link != "" {
			inside := nstest.New(s.t)
			here, err := s.host.Pair("veth"+c.id, "eth0", inside)
			must(s.t, err)
			s.report("ct_netif", "pool", c.pool, "id", c.id, "action", "add", "name", "eth0", "veth", "veth"+c.id)
			s.report("state", "pool", c.pool, "id", c.id, "state", "starting")
			if c.link != "down" {
				s.up(here)
			}
			if c.link == "up" {
				there, err := inside.Index("eth0")
				must(s.t, err)
				must(s.t, inside.Up(there))
			}
		}
		s.report("state", "pool", c.pool, "id", c.id, "state", c.state)
		s.report("management", "id", "1"+c.id, "cmd", "ct_start", "state", "done")
	}
	other, err := s.host.Pair("veth3f9c", "eth0", nstest.New(s.t))
	must(s.t, err)
	s.up(other)
}

// generateActivity causes events for longer than the span of the chart, so that the chart is full.
func (s *scene) generateActivity() {
	s.t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	tick := time.NewTicker(400 * time.Millisecond)
	defer tick.Stop()
	all := containersOfPictures()
	for end := time.Now().Add(5*time.Minute + 10*time.Second); time.Now().Before(end); <-tick.C {
		c := all[random.IntN(len(all))]
		switch n := random.IntN(20); {
		case n < 12:
		case n < 15:
			s.report("ct_health", "pool", c.pool, "id", c.id, "health", "healthy")
		case n < 17 && c.link == "up":
			link, err := s.host.Index("veth" + c.id)
			must(s.t, err)
			must(s.t, s.host.Down(link))
			s.up(link)
		default:
			command := fmt.Sprint(random.IntN(9999))
			s.report("management", "id", command, "cmd", "ct_exec", "state", "run")
			s.report("management", "id", command, "cmd", "ct_exec", "state", "done")
			s.report("db", "object", "user", "pool", c.pool, "id", fmt.Sprintf("u%d", random.IntN(40)), "action", "add")
		}
	}
}

// TestPicture draws the pictures of the page in README.md. It writes them only with -update, because
// they depend on the time.
func TestPicture(t *testing.T) {
	s := startScene(t, "--state-dir", t.TempDir())
	s.addContainers()
	if *update {
		s.generateActivity()
	}
	s.report("db", "object", "user", "pool", "tank", "id", "u17", "action", "add")
	s.report("ct_exit", "pool", "dozer", "id", "210", "exit_type", "halt")
	for _, dark := range []bool{false, true} {
		name := map[bool]string{false: "light", true: "dark"}[dark]
		t.Run(name, func(t *testing.T) {
			b := openPage(t, startCockpit(t, s.bus.Address(), user{}), "", look{width: 1200, height: 760, dark: dark})
			b.row("interfaces", "veth101", "tank:101", "eth0", "veth101", "no-carrier")
			b.row("interfaces", "veth118", "tank:118", "eth0", "veth118", "down")
			b.until("the newest event", `document.querySelector("#events").textContent.includes("ct_exit")`)
			b.until("the legend", `document.querySelector("#legend").textContent.includes("ct_netif")`)
			b.shot("page-" + name)
			var shot []byte
			b.run(chromedp.CaptureScreenshot(&shot))
			small, err := reduceColours(shot)
			must(t, err)
			if *update {
				must(t, os.WriteFile(fmt.Sprintf("../../../packaging/cockpit/page-%s.png", name), small, 0o644))
			}
		})
	}
}

// reduceColours reduces a picture to its 255 most frequent colours, which saves two thirds of the space.
func reduceColours(shot []byte) ([]byte, error) {
	whole, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		return nil, err
	}
	counts := map[color.RGBA]int{}
	bounds := whole.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			counts[color.RGBAModel.Convert(whole.At(x, y)).(color.RGBA)]++
		}
	}
	var palette color.Palette
	for _, c := range mostFrequent(counts, 255) {
		palette = append(palette, c)
	}
	reduced := image.NewPaletted(bounds, palette)
	draw.Draw(reduced, bounds, whole, bounds.Min, draw.Src)
	var encoded bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	err = encoder.Encode(&encoded, reduced)
	return encoded.Bytes(), err
}

// mostFrequent returns the n most frequent colours, and skips colours similar to one before.
func mostFrequent(counts map[color.RGBA]int, n int) []color.RGBA {
	all := slices.SortedFunc(maps.Keys(counts), func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	var distinct []color.RGBA
	for _, c := range all {
		similar := func(other color.RGBA) bool {
			return max(c.R, other.R)-min(c.R, other.R) < 8 && max(c.G, other.G)-min(c.G, other.G) < 8 && max(c.B, other.B)-min(c.B, other.B) < 8
		}
		if len(distinct) < n && !slices.ContainsFunc(distinct, similar) {
			distinct = append(distinct, c)
		}
	}
	return distinct
}
