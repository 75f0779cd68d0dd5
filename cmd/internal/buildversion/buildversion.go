// Package buildversion says which version of the programs this is.
package buildversion

import "runtime/debug"

// unknown is the version of a build that knows of none.
const unknown = "0.0.0-dev"

// Of returns the version that the linker set, or else that of the module, as `go install
// MODULE@VERSION` and a build in a clone record it.
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
