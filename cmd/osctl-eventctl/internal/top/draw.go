package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/rivo/uniseg"

	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/cmd/osctl-eventctl/internal/screen"
)

const keysHelp = "↑↓ move  Enter history  / filter  t trouble  p pause  y copy command  q quit"

const (
	longTitle = 40 // maximum length of the filter in a title
	longCell  = 40 // maximum width of a column
)

// Draw implements [screen.View]. It draws once a second for the column SINCE.
func (v *View) Draw(terminal tcell.Screen) (next time.Time) {
	v.takeHistory()
	v.update()
	width, height := terminal.Size()
	types := min(len(v.shown.Series), max((height-16)/4, 2))
	tables := max(height-types-4, 0) // without health, two titles and the keys
	rows := tables * 3 / 5
	lines := []screen.Line{v.healthLine()}
	lines = append(lines, v.chartLines(types, width)...)
	lines = append(lines, screen.Line{}.Add(v.rowsTitle(), bold()))
	lines = append(lines, v.rowLines(rows, width)...)
	lines = append(lines, screen.Line{}.Add(v.eventsTitle(), bold()))
	lines = append(lines, v.eventLines(tables-rows, width)...)
	v.filter.PlaceCursor(terminal)
	screen.Draw(terminal, lines, v.footLine())
	return time.Now().Add(time.Second)
}

func bold() tcell.Style { return tcell.StyleDefault.Bold(true) }

// colour returns the colour of a style if the view has colours.
func (v *View) colour(of terminal.Style) tcell.Style {
	if !v.Colour {
		return tcell.StyleDefault
	}
	return tcell.StyleDefault.Foreground(screen.Colour(of))
}

func (v *View) healthLine() screen.Line {
	h := &v.shown.Health
	line := screen.Line{}.Add("osctl-eventd", bold()).Add(" "+terminal.Printable(h.Version), tcell.StyleDefault)
	add := func(style terminal.Style, text string) {
		line = line.Add(" · ", tcell.StyleDefault).Add(text, v.colour(style))
	}
	switch {
	case h.Outage != "":
		add(terminal.StyleBad, terminal.Printable(h.Outage))
	case v.paused:
		add(terminal.StyleChanging, fmt.Sprintf("PAUSED, %d new", h.Last-min(h.Last, v.pausedLast)))
	default:
		add(terminal.StyleGood, "live")
	}
	if h.Known && h.Outage == "" {
		h.describeService(add)
	}
	if h.Lost > 0 {
		add(terminal.StyleBad, fmt.Sprintf("%d events not seen", h.Lost))
	}
	return line
}

// describeService adds the properties of the service. They are outdated once the service is away.
func (h *Health) describeService(add func(style terminal.Style, text string)) {
	switch {
	case h.LogProblem != "":
		add(terminal.StyleBad, "NOT DURABLE: "+terminal.Printable(h.LogProblem))
	case h.Durable:
		add(terminal.StyleGood, "durable")
	default:
		add(terminal.StyleChanging, "in memory only")
	}
	if h.Lapped > 0 {
		add(terminal.StyleBad, fmt.Sprintf("%d signals lost", h.Lapped))
	}
	if len(h.Missing) > 0 {
		add(terminal.StyleChanging, "missing "+terminal.Printable(strings.Join(h.Missing, "; ")))
	}
}

const blocks = "▁▂▃▄▅▆▇█"

// chartLines returns a line for each of the most frequent types: the rate over the last minutes.
func (v *View) chartLines(types, width int) []screen.Line {
	lines := make([]screen.Line, 0, types)
	for _, s := range v.shown.Series[:types] {
		const name, rate = 14, 10
		points := s.Rate[max(len(s.Rate)-max(width-name-rate-2, 0), 0):]
		now, most := 0.0, 0.0
		if len(points) > 0 {
			now, most = points[len(points)-1], slices.Max(points)
		}
		text := fmt.Sprintf("%s %*s/s %s", screen.Fit(terminal.Printable(s.Type), name), rate-2, rateText(now), sparkline(points, most))
		lines = append(lines, screen.Line{}.Add(text, tcell.StyleDefault))
	}
	return lines
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
		title += fmt.Sprintf("; with %s: %d", terminal.Printable(fmt.Sprintf("%.*q", longTitle, v.filter.Text)), len(v.rows))
	}
	return title
}

func (v *View) eventsTitle() string {
	if v.focus == nil {
		return "Events, newest first"
	}
	title := "Events of " + v.focus.title() + ", newest first; Esc shows all"
	if v.fetched != nil {
		title += "; loading …"
	}
	return title
}

func (v *View) footLine() screen.Line {
	switch {
	case v.filter.Open:
		return v.filter.Line()
	case v.note != "":
		return screen.Line{}.Add(v.note, tcell.StyleDefault)
	}
	return screen.Line{}.Add(keysHelp, tcell.StyleDefault.Dim(true))
}

// rowLines returns the table of rows as n lines.
func (v *View) rowLines(n, width int) []screen.Line {
	visible := max(n-1, 0) // below the header
	v.page = max(visible, 1)
	v.top = screen.Scroll(v.top, v.position, visible, len(v.rows))
	table := [][]string{{"CONTAINER", "STATE", "NAME", "LINK", "VETH", "SINCE"}}
	for _, row := range v.rows[v.top:min(v.top+visible, len(v.rows))] {
		table = append(table, row.cells(time.Now()))
	}
	widths := columnWidths(table, width)
	lines := make([]screen.Line, n)
	for y, cells := range table[:min(n, len(table))] {
		for column, cell := range cells {
			style := tcell.StyleDefault
			switch {
			case y == 0:
				style = bold()
			case v.top+y-1 == v.position:
				style = style.Reverse(true)
			case column == 1 || column == 3: // the states
				style = v.colour(terminal.StyleOf(cell))
			}
			lines[y] = lines[y].Add(screen.Fit(cell, widths[column])+screen.Gap, style)
		}
	}
	return lines
}

// cells returns the columns of the table, safe for a terminal.
func (r *Row) cells(now time.Time) []string {
	cells := []string{r.container(), r.State, r.Name, r.Link, r.Veth, sinceText(r.Since, now)}
	for i := range cells {
		cells[i] = terminal.Printable(cmp.Or(cells[i], "-"))
	}
	return cells
}

// columnWidths returns the widths of the columns of a table.
func columnWidths(table [][]string, room int) []int {
	widths := make([]int, len(table[0]))
	for _, cells := range table {
		for i, cell := range cells {
			widths[i] = max(widths[i], min(uniseg.StringWidth(cell), longCell))
		}
	}
	screen.Shrink(widths, room)
	return widths
}

// eventLines returns the newest events, the newest first, as n lines.
func (v *View) eventLines(n, width int) []screen.Line {
	lines, events := make([]screen.Line, n), v.collectEvents()
	for y := range min(n, len(events)) {
		e := &events[len(events)-1-y]
		lines[y] = screen.Line{}.Add(screen.Fit(e.Text, width), tcell.StyleDefault.Bold(e.Gap))
	}
	return lines
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
