// Package top is the screen of osctl-eventctl top: the health of the service, the rate of events,
// the interfaces and containers with those in trouble first, and the newest events.
//
// A [Feed] reads from the service into a [State]. A [View] draws a [Snapshot] of the state at most
// ten times a second; while it is paused, it keeps the same snapshot. The memory of all of them is
// bounded.
package top
