package live

import (
	"fmt"
	"strings"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/rivo/uniseg"

	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/cmd/osctl-eventctl/internal/screen"
)

const keysHelp = "↑↓ move  / filter  ←→ sort  r reverse  q quit"

const (
	// otherLines is the number of lines that are not rows: title and header above, one below.
	otherLines = 3
	// arrow is the width of the arrow behind the title of the sort column.
	arrow = 2
	// indent is the space for the marks.
	indent = "  "
)

// Draw implements [screen.View].
func (v *View) Draw(terminal tcell.Screen) (next time.Time) {
	now := time.Now()
	v.update(now)
	next = v.table.Expire(now)
	width, height := terminal.Size()
	rows := max(height-otherLines, 0)
	v.page = max(rows, 1)
	v.top = screen.Scroll(v.top, v.table.position, rows, len(v.table.shown))
	w := widths(v.Columns, v.table.sortBy, v.table.shown, width-len(indent))
	lines := []screen.Line{screen.Line{}.Add(screen.Fit(v.title(), width), tcell.StyleDefault), v.header(w)}
	for _, row := range v.table.shown[v.top:min(v.top+rows, len(v.table.shown))] {
		lines = append(lines, v.rowLine(row, w))
	}
	v.filter.PlaceCursor(terminal)
	screen.Draw(terminal, lines, v.bottom(width))
	return next
}

// title returns the number of rows in each state.
func (v *View) title() string {
	all, shown := v.table.Count(v.StateColumn)
	if v.table.filter == "" {
		return v.Title + ": " + all
	}
	return fmt.Sprintf("%s with %q: %s; of %s", v.Title, v.table.filter, shown, all)
}

// header returns the titles of the columns, and the arrow.
func (v *View) header(w []int) screen.Line {
	bold := tcell.StyleDefault.Bold(true)
	line := screen.Line{}.Add(indent, bold)
	for i, title := range v.Columns {
		if i == v.table.sortBy {
			title = strings.TrimRight(screen.Fit(title, max(min(w[i]-arrow, uniseg.StringWidth(title)), 0)), " ") +
				map[bool]string{false: " ↑", true: " ↓"}[v.table.reversed]
		}
		line = line.Add(screen.Fit(title, w[i])+screen.Gap, bold)
	}
	return line
}

func (v *View) rowLine(row *entry, w []int) screen.Line {
	style := tcell.StyleDefault
	selected := row.Key == v.table.selected
	switch {
	case selected:
		style = style.Reverse(true)
	case row.mark == removed:
		style = style.Dim(true)
	case row.mark != unchanged:
		style = style.Bold(true)
	}
	markStyle := map[mark]terminal.Style{added: terminal.StyleGood, changed: terminal.StyleChanging, removed: terminal.StyleBad}[row.mark]
	line := screen.Line{}.Add(string(row.mark), v.colour(style.Bold(true), markStyle)).Add(indent[1:], style)
	for i, cell := range row.Cells {
		cellStyle := style
		if i == v.StateColumn && !selected {
			cellStyle = v.colour(style, terminal.StyleOf(cell))
		}
		line = line.Add(screen.Fit(cell, w[i]), cellStyle).Add(screen.Gap, style)
	}
	return line
}

// bottom returns the prompt of the filter, the problem, or the keys.
func (v *View) bottom(width int) screen.Line {
	switch {
	case v.filter.Open:
		return v.filter.Line()
	case v.shown != "":
		return screen.Line{}.Add(screen.Fit(v.shown, width), v.colour(tcell.StyleDefault.Bold(true), terminal.StyleBad))
	}
	return screen.Line{}.Add(screen.Fit(keysHelp, width), tcell.StyleDefault.Dim(true))
}

// colour adds the colour of a style if the view has colours.
func (v *View) colour(style tcell.Style, of terminal.Style) tcell.Style {
	if !v.Colour {
		return style
	}
	return style.Foreground(screen.Colour(of))
}

// widths returns the width of each column: that of its widest cell, and of its title with an arrow. If the
// columns do not fit into room, it drops the space for absent arrows first, and then shrinks the widest columns.
func widths(columns []string, sortBy int, rows []*entry, room int) []int {
	need := make([]int, len(columns)) // with one arrow
	for i, title := range columns {
		need[i] = uniseg.StringWidth(title)
		if i == sortBy {
			need[i] += arrow
		}
	}
	for _, row := range rows {
		for i, cell := range row.Cells {
			need[i] = max(need[i], uniseg.StringWidth(cell))
		}
	}
	w := make([]int, len(columns))
	for i, title := range columns {
		w[i] = max(need[i], uniseg.StringWidth(title)+arrow)
	}
	if screen.TotalWidth(w) > room {
		w = need
	}
	screen.Shrink(w, room)
	return w
}
