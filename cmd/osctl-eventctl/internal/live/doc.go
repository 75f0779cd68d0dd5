// Package live is a table on a terminal that follows what it shows.
//
// [Table] is the state: rows, marks on those that changed, filter, sorting, the
// selected row. It knows no terminal, and time only as an argument. [View] draws it and
// reads keys. Rows are set as often as they change; what is drawn is the latest state,
// at most every tenth of a second, and only cells that differ are sent to the terminal, so that a
// slow line gets fewer pictures and not older ones.
package live
