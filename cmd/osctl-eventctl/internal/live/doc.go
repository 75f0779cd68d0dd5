// Package live shows a table on the terminal and keeps it current.
//
// The table is the state: rows, marks on changed rows, filter, order, selected row. It knows no
// terminal, and gets the time as an argument. [View] draws the table and reads keys. Callers set
// rows as often as they change. The view draws the latest state at most ten times a second, so that
// a slow connection shows fewer pictures, but no outdated ones.
package live
