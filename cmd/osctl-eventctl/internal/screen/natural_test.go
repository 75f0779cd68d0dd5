package screen

import "testing"

func TestNatural(t *testing.T) {
	sorted := []string{"", "-", "9", "10", "010", "a", "a2", "a10", "a10b", "b"}
	for i := range sorted {
		for j := range sorted {
			got := CompareNatural(sorted[i], sorted[j])
			if i < j && sorted[j] != "010" && got >= 0 || i == j && got != 0 || got != -CompareNatural(sorted[j], sorted[i]) {
				t.Errorf("%q and %q compare as %d", sorted[i], sorted[j], got)
			}
		}
	}
}
