// Package buildversion finds the version of the programs.
package buildversion

import "runtime/debug"

// unknown is the version of a build without version information.
const unknown = "0.0.0-dev"

// Of returns the version that the linker set, otherwise the module version that `go install
// MODULE@VERSION` or a build in a clone recorded.
func Of(linked string) string {
	if linked != "" {
		return linked
	}
	info, ok := debug.ReadBuildInfo()
	return ofModule(info, ok)
}

func ofModule(info *debug.BuildInfo, ok bool) string {
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return unknown
	}
	return info.Main.Version
}
