package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
)

// summary is an element of an engine's list of containers.
type summary struct {
	id    string
	state container.ContainerState
	info  info
}

// ended reports whether the container was started and does not run any more.
func (s *summary) ended() bool {
	return s.state != container.StateCreated && s.state != container.StateRunning && s.state != container.StatePaused
}

// list returns the containers, running or not; all is false if some are left out. It decodes the answer
// itself, because docker's client takes gigabytes of memory for a few megabytes of "{},{}".
func (e *engine) list(ctx context.Context) (list []summary, all bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	e.queriesQuota.set(maxList)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine/containers/json?all=1", http.NoBody)
	if err != nil {
		return nil, false, err
	}
	answer, err := e.lists.Do(request)
	if err != nil {
		return nil, false, fmt.Errorf("list containers: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, false, fmt.Errorf("list containers: the runtime answers %d", answer.StatusCode)
	}
	if list, all, err = readList(json.NewDecoder(answer.Body)); err != nil {
		return nil, false, fmt.Errorf("list containers: %w", err)
	}
	return list, all, nil
}

// readList decodes an array of containers one by one. It leaves out invalid ones.
func readList(d *json.Decoder) (list []summary, all bool, err error) {
	if begin, err := d.Token(); err != nil || begin != json.Delim('[') {
		return nil, false, fmt.Errorf("expected an array, got %v, %w", begin, err)
	}
	all = true
	for read := 0; d.More(); read++ {
		if read == maxContainers {
			return list, false, nil
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, false, err
		}
		if s, ok := parseSummary(raw); ok {
			list = append(list, s)
		} else {
			all = false
		}
	}
	_, err = d.Token()
	return list, all, err
}

// isOwnName reports whether a name is the container's own, as /db, and not that of a link, as /app/alias.
func isOwnName(name string) bool { return strings.LastIndexByte(name, '/') <= 0 }

// parseSummary parses an element of a list. ok is false if the element is too large or has no valid id.
func parseSummary(raw json.RawMessage) (s summary, ok bool) {
	var c struct {
		ID     string `json:"Id"`
		Names  []string
		Image  string
		Labels map[string]string
		State  container.ContainerState
	}
	if len(raw) > maxObject || json.Unmarshal(raw, &c) != nil || !validID(c.ID) {
		return s, false
	}
	name := ""
	if own := slices.IndexFunc(c.Names, isOwnName); own >= 0 {
		name = c.Names[own]
	}
	return summary{c.ID, c.State, newInfo(name, c.Image, c.Labels)}, true
}
