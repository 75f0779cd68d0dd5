package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/rivo/tview"

	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/cmd/osctl-eventctl/internal/screen"
)

// draw draws the whole screen.
func (v *View) draw(canvas *screen.Canvas) {
	v.collectEvents()
	canvas.Begin()
	width, height := canvas.Width, canvas.Height
	types := min(len(v.shown.Series), max((height-16)/4, 2))
	v.health.SetText(v.healthText())
	v.chart.SetText(v.chartText(types, width))
	v.foot.SetText(v.footText())
	v.root.Clear().
		AddItem(v.health, 1, 0, false).AddItem(v.chart, types, 0, false).
		AddItem(v.title(v.rowsTitle()), 1, 0, false).AddItem(v.table, 0, 3, true).
		AddItem(v.title(v.eventsTitle()), 1, 0, false).AddItem(v.events, 0, 2, false).
		AddItem(v.foot, 1, 0, false)
	v.root.SetRect(0, 0, width, height)
	v.events.ScrollToBeginning() // otherwise tview follows the end of the table
	if at, _ := v.table.GetSelection(); at <= 1 {
		v.table.ScrollToBeginning()
	}
	canvas.HideCursor()
	v.root.Draw(canvas)
	if v.filter.Open {
		canvas.ShowCursor(min(tview.TaggedStringWidth(v.footText()), width-1), height-1)
	}
	canvas.Show()
}

// title returns a line above a table.
func (v *View) title(text string) *tview.TextView {
	title := newText()
	title.SetText(v.tag("::b", text))
	return title
}

// tag puts escaped text in a style tag of tview. It omits colours if the view has none.
func (v *View) tag(style, text string) string {
	if !v.Colour && !strings.HasPrefix(style, "::") {
		return text
	}
	return "[" + style + "]" + text + "[-:-:-]"
}

// escape makes text safe for a terminal, and escapes the tags of tview.
func escape(text string) string { return tview.Escape(terminal.Printable(text)) }

// The names of the colours of [screen.Colour].
const (
	good = "green"
	bad  = "maroon" // red
	pass = "olive"  // yellow
)

func (v *View) healthText() string {
	h := &v.shown.Health
	parts := []string{v.tag("::b", "osctl-eventd") + " " + escape(h.Version)}
	switch {
	case h.Outage != "":
		parts = append(parts, v.tag(bad, escape(h.Outage)))
	case v.paused:
		parts = append(parts, v.tag(pass, fmt.Sprintf("PAUSED, %d new", h.Last-min(h.Last, v.pausedLast))))
	default:
		parts = append(parts, v.tag(good, "live"))
	}
	if h.Known && h.Outage == "" {
		parts = append(parts, v.serviceText()...)
	}
	if h.Lost > 0 {
		parts = append(parts, v.tag(bad, fmt.Sprintf("%d events not seen", h.Lost)))
	}
	return strings.Join(parts, " · ")
}

// serviceText returns the properties of the service. They are outdated once the service is away.
func (v *View) serviceText() (parts []string) {
	h := &v.shown.Health
	switch {
	case h.LogProblem != "":
		parts = append(parts, v.tag(bad, "NOT DURABLE: "+escape(h.LogProblem)))
	case h.Durable:
		parts = append(parts, v.tag(good, "durable"))
	default:
		parts = append(parts, v.tag(pass, "in memory only"))
	}
	if h.Lapped > 0 {
		parts = append(parts, v.tag(bad, fmt.Sprintf("%d signals lost", h.Lapped)))
	}
	if len(h.Missing) > 0 {
		parts = append(parts, v.tag(pass, "missing "+escape(strings.Join(h.Missing, "; "))))
	}
	return parts
}

const blocks = "▁▂▃▄▅▆▇█"

// chartText returns a line for each of the most frequent types: the rate over the last minutes.
func (v *View) chartText(types, width int) string {
	lines := make([]string, 0, types)
	for _, s := range v.shown.Series[:types] {
		const name, rate = 14, 10
		points := s.Rate[max(len(s.Rate)-max(width-name-rate-2, 0), 0):]
		now, most := 0.0, 0.0
		if len(points) > 0 {
			now, most = points[len(points)-1], slices.Max(points)
		}
		lines = append(lines, fmt.Sprintf("%s %*s/s %s", tview.Escape(fit(terminal.Printable(s.Type), name)), rate-2, rateText(now), sparkline(points, most)))
	}
	return strings.Join(lines, "\n")
}

func rateText(rate float64) string {
	if rate > 0 && rate < 10 {
		return fmt.Sprintf("%.1f", rate)
	}
	return fmt.Sprintf("%.0f", rate)
}

// sparkline draws a block for each point. Every point above zero is visible.
func sparkline(points []float64, most float64) string {
	var b strings.Builder
	levels := []rune(blocks)
	for _, p := range points {
		if p <= 0 || most <= 0 {
			b.WriteByte(' ')
			continue
		}
		b.WriteRune(levels[min(int(p/most*float64(len(levels))), len(levels)-1)])
	}
	return b.String()
}

// fit pads or cuts text to a number of characters.
func fit(text string, width int) string {
	runes := []rune(text)
	if len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return text + strings.Repeat(" ", width-len(runes))
}

func (v *View) rowsTitle() string {
	troubled := 0
	for _, row := range v.shown.Rows {
		if row.Trouble > 0 {
			troubled++
		}
	}
	title := fmt.Sprintf("Interfaces and containers: %d, in trouble %d", len(v.shown.Rows), troubled)
	if v.trouble {
		title += "; only trouble"
	}
	if v.filter.Text != "" {
		title += fmt.Sprintf("; with %s: %d", escape(fmt.Sprintf("%.*q", longTitle, v.filter.Text)), len(v.rows))
	}
	return title
}

func (v *View) eventsTitle() string {
	if v.focus == nil {
		return "Events, newest first"
	}
	title := "Events of " + tview.Escape(v.focus.title()) + ", newest first; Esc shows all"
	if v.past == nil {
		title += "; loading …"
	}
	return title
}

func (v *View) footText() string {
	switch {
	case v.filter.Open:
		return v.tag("::b", "filter: "+escape(v.filter.Text))
	case v.note != "":
		return v.note
	}
	return v.tag("::d", keysHelp)
}

// rowContent is the table of rows. tview asks it only for visible cells.
type rowContent struct {
	tview.TableContentReadOnly
	view *View
}

// columns returns the columns of the table.
func columns() []string {
	return []string{"CONTAINER", "STATE", "NAME", "LINK", "VETH", "SINCE"}
}

// GetRowCount returns the number of lines, with the header.
func (c rowContent) GetRowCount() int { return len(c.view.rows) + 1 }

// GetColumnCount returns the number of columns.
func (c rowContent) GetColumnCount() int { return len(columns()) }

// GetCell returns a cell.
func (c rowContent) GetCell(at, column int) *tview.TableCell {
	if at == 0 {
		return tview.NewTableCell(fit(columns()[column], len(columns()[column])+1)).SetStyle(tcell.StyleDefault.Bold(true)).SetSelectable(false)
	}
	if at < 0 || at > len(c.view.rows) {
		return nil
	}
	row := &c.view.rows[at-1]
	text := []string{row.container(), row.State, row.Name, row.Link, row.Veth, ""}[column]
	style := tcell.StyleDefault
	switch column {
	case 1, 3:
		style = c.view.styleOf(text)
	case 5:
		text = sinceText(row.Since, time.Now())
	}
	return tview.NewTableCell(escape(cmp.Or(text, "-")) + " ").SetStyle(style).SetMaxWidth(40)
}

// styleOf returns the style of a state.
func (v *View) styleOf(state string) tcell.Style {
	if !v.Colour {
		return tcell.StyleDefault
	}
	return tcell.StyleDefault.Foreground(screen.Colour(terminal.StyleOf(state)))
}

// sinceText formats how long a state has lasted.
func sinceText(since, now time.Time) string {
	if since.IsZero() {
		return ""
	}
	switch d := max(now.Sub(since), 0); {
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Truncate(time.Second).Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
	}
}

// eventContent is the table of events, newest first.
type eventContent struct {
	tview.TableContentReadOnly
	view *View
}

// GetRowCount returns the number of events.
func (c eventContent) GetRowCount() int { return len(c.view.lines) }

// GetColumnCount returns 1, because an event is one cell.
func (c eventContent) GetColumnCount() int { return 1 }

// GetCell returns the cell of an event.
func (c eventContent) GetCell(at, _ int) *tview.TableCell {
	lines := c.view.lines
	if at < 0 || at >= len(lines) {
		return nil
	}
	e := &lines[len(lines)-1-at]
	style := tcell.StyleDefault
	if e.Gap {
		style = style.Bold(true)
	}
	return tview.NewTableCell(tview.Escape(e.Text)).SetStyle(style)
}
