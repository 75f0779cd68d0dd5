[DBus (name = "org.osctl.Eventd")]
interface Eventd : Object {
	public abstract uint64 last_sequence { get; }
	public abstract uint64 report (string type, HashTable<string, Variant> opts) throws Error;
	[DBus (timeout = 70000)]
	public abstract void wait_events (string cursor, HashTable<string, Variant> filter, uint max_events, uint timeout_msec,
		out string next_cursor, out Event[] events) throws Error;
}

struct Event {
	string type;
	string action;
	string pool;
	string id;
	string source;
	uint64 seq;
	uint64 time_usec;
	HashTable<string, Variant> opts;
}

int main () {
	try {
		Eventd eventd = Bus.get_proxy_sync (BusType.SYSTEM, "org.osctl.Eventd", "/org/osctl/Eventd");
		var opts = new HashTable<string, Variant> (str_hash, str_equal);
		opts["pool"] = "tank";
		var seq = eventd.report ("probe_vala", opts);
		var filter = new HashTable<string, Variant> (str_hash, str_equal);
		filter["type"] = "probe_vala";
		string cursor;
		Event[] events;
		eventd.wait_events ("oldest", filter, 0, 60000, out cursor, out events);
		if (events.length == 0 || events[0].type != "probe_vala" || events[events.length - 1].seq != seq)
			return 1;
		print ("%s %s\n", cursor, events[0].type);
		return 0;
	} catch (Error e) {
		printerr ("%s\n", e.message);
		return 1;
	}
}
