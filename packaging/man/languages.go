package man

// language has what a caller in one language needs to know about this interface. Its lines come
// from a tested client in packaging/clients.
type language struct {
	name, text, client string
	lines              []string
}

// languages returns what org.osctl.Eventd(5) says of each.
func languages() []language {
	return []language{
		{"busctl", "Options are a count, then name, type and value of each. Its reply time-out is 25 s:", "busctl.sh", []string{
			`busctl --timeout=70 call org.osctl.Eventd /org/osctl/Eventd org.osctl.Eventd WaitEvents 'sa{sv}uu' oldest 1 type s probe_busctl 0 60000`,
		}},
		{"gdbus", "A variant is written <VALUE>. dbus-send(1) and qdbus cannot send options, because they have no a{sv}:", "gdbus.sh", []string{
			`probe_gdbus "{'pool': <'tank'>, 'n': <7>}"`,
		}},
		{"C, sd-bus", "Options are a count, then name, type and value of each. The time-out is in microseconds:", "sd-bus.c", []string{
			`sd_bus_message_append(call, "sa{sv}uu", "oldest", 1, "type", "s", "probe_sdbus", 0, 60000)`,
			`sd_bus_call(bus, call, 70 * 1000000ULL, &error, &reply)`,
		}},
		{"C, gdbus-codegen", "It reads the installed XML as it is:", "gdbus-codegen.c", []string{
			`g_dbus_proxy_set_default_timeout(G_DBUS_PROXY(eventd), 70000);`,
		}},
		{"Vala", "Declare the interface and the struct of an event. The time-out is an attribute of the method:", "eventd.vala", []string{
			`[DBus (timeout = 70000)]`,
			`public abstract uint64 report (string type, HashTable<string, Variant> opts) throws Error;`,
		}},
		{"C++, Qt", "qdbusxml2cpp -i eventdtypes.h reads the installed XML. Declare the types that its annotations name:", "qt/eventdtypes.h", []string{
			`using EventdEvents = QList<EventdEvent>;`,
			`qDBusRegisterMetaType<EventdEvents>();`,
		}},
		{"Python, Gio", "The signature is an argument, and each option is a GLib.Variant:", "gio.py", []string{
			`eventd.Report("(sa{sv})", "probe_gio", {"pool": GLib.Variant("s", "tank"), "n": GLib.Variant("i", 7)})`,
			`eventd.set_default_timeout(70000)`,
		}},
		{"Python, dbus-python", "An int is sent as i; use dbus.Int64, dbus.UInt32 and others for other types. An empty filter needs a signature:", "dbus-python.py", []string{
			`eventd.Report("probe_python", {"pool": "tank", "n": dbus.UInt32(7), "at": dbus.Int64(1 << 40)})`,
			`eventd.WaitEvents("oldest", {"type": "probe_python"}, 0, 60000, timeout=70)`,
			`eventd.ListContainers(dbus.Dictionary({}, signature="sv"))`,
		}},
		{"Python, dasbus", "Each option is a variant; the time-out is in milliseconds:", "dasbus-client.py", []string{
			`eventd.Report("probe_dasbus", {"pool": get_variant(Str, "tank"), "n": get_variant(Int, 7)})`,
			`eventd.WaitEvents("oldest", {"type": get_variant(Str, "probe_dasbus")}, 0, 60000, timeout=70000)`,
		}},
		{"JavaScript, dbus-next", "A t is a BigInt, for which JSON.stringify needs a replacer:", "dbus-next.js", []string{
			`await eventd.Report('probe_node', { pool: new dbus.Variant('s', 'tank'), n: new dbus.Variant('i', 7) });`,
			`JSON.stringify(events[0], (key, value) => typeof value === 'bigint' ? Number(value) : value);`,
		}},
		{"Perl, Net::DBus", "A number is sent as s, unless a function like dbus_int32 gives its type:", "net-dbus.pl", []string{
			`use Net::DBus qw(:typing);`,
			`$bus->timeout(70_000);`,
			`$eventd->Report("probe_perl", { pool => "tank", n => dbus_int32(7) });`,
		}},
		{"Ruby, ruby-dbus", "An Integer is sent as i; DBus.variant gives another type:", "ruby-dbus.rb", []string{
			`eventd.Report("probe_ruby", "pool" => "tank", "n" => DBus.variant("i", 7))`,
		}},
	}
}

// languages adds the section on languages.
func (p *Page) languages() {
	p.Section("LANGUAGES")
	p.Text("This section has what the manual of each language binding or tool does not say about this interface. Set the reply time-out above timeout_msec of WaitEvents, because the default is 25 s for most.")
	for _, l := range languages() {
		p.Item(l.name, l.text)
		for _, line := range l.lines {
			p.ItemLine(line)
		}
	}
}
