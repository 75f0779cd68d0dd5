import dbus

bus = dbus.SystemBus()
eventd = dbus.Interface(bus.get_object("org.osctl.Eventd", "/org/osctl/Eventd"), "org.osctl.Eventd")
# An int becomes an int32; say which type an option has where another is meant.
eventd.Report("probe_python", {"pool": "tank", "n": dbus.UInt32(7), "at": dbus.Int64(1 << 40)})
cursor, events = eventd.WaitEvents("oldest", {"type": "probe_python"}, 0, 60000, timeout=70)
assert events[0][0] == "probe_python" and events[0][7]["n"] == 7 and events[0][7]["at"] == 1 << 40, events
empty = eventd.ListContainers(dbus.Dictionary({}, signature="sv"))
properties = dbus.Interface(eventd, "org.freedesktop.DBus.Properties")
assert properties.Get("org.osctl.Eventd", "LastSequence") >= 1
print(cursor, dict(events[0][7]))
