from gi.repository import Gio, GLib

bus = Gio.bus_get_sync(Gio.BusType.SYSTEM)
eventd = Gio.DBusProxy.new_sync(bus, 0, None, "org.osctl.Eventd", "/org/osctl/Eventd", "org.osctl.Eventd")
eventd.set_default_timeout(70000)
eventd.Report("(sa{sv})", "probe_gio", {"pool": GLib.Variant("s", "tank"), "n": GLib.Variant("i", 7)})
cursor, events = eventd.WaitEvents("(sa{sv}uu)", "oldest", {"type": GLib.Variant("s", "probe_gio")}, 0, 60000)
assert events[0][0] == "probe_gio" and events[0][7]["n"] == 7, events

# The proxy keeps properties; PropertiesChanged keeps it from being wrong for good.
loop, got = GLib.MainLoop(), []
def changed(_proxy, values, invalidated):
    got.extend(list(values.keys()) + list(invalidated))
    if "LastSequence" in got:
        loop.quit()
eventd.connect("g-properties-changed", changed)
before = eventd.get_cached_property("LastSequence")
eventd.Report("(sa{sv})", "probe_gio", {"pool": GLib.Variant("s", "tank")})
GLib.timeout_add_seconds(30, loop.quit)
loop.run()
assert "LastSequence" in got and eventd.get_cached_property("LastSequence") != before, got
print(cursor, events[0][7], got)
