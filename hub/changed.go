package hub

// Changed returns a channel that holds a token when the [Status] or a counter may have changed
// since the last token was taken. It is for one reader.
func (h *Hub) Changed() <-chan struct{} { return h.changed }

// noteChange puts a token into the channel of [Hub.Changed].
func (h *Hub) noteChange() {
	select {
	case h.changed <- struct{}{}:
	default: // a token is there
	}
}
