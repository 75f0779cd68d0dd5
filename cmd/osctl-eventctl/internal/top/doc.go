// Package top is the screen of osctl-eventctl top: is the service well, how much happens, which
// interfaces and containers are in trouble, and what happened last.
//
// [State] holds what the service said, and [Feed] brings it. A [View] shows a [Snapshot] of it at most
// ten times a second, on a screen that is sent only the cells that differ. While it is paused it keeps
// showing the same snapshot. All that is kept is bounded.
package top
