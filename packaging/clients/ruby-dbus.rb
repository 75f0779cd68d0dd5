require "dbus"

# ruby-dbus reads only the address of the standard system bus; a program in service needs DBus.system_bus alone.
bus = DBus::RemoteBus.new(ENV.fetch("DBUS_SYSTEM_BUS_ADDRESS")) if defined?(DBus::RemoteBus)
bus ||= DBus.system_bus
eventd = bus["org.osctl.Eventd"]["/org/osctl/Eventd"]["org.osctl.Eventd"]
eventd.Report("probe_ruby", "pool" => "tank", "n" => DBus.variant("i", 7))
cursor, events = eventd.WaitEvents("oldest", { "type" => "probe_ruby" }, 0, 60_000)
raise events.inspect unless events[0][0] == "probe_ruby" && events[0][7]["n"] == 7
raise "LastSequence" unless eventd["LastSequence"] >= 1
puts "#{cursor} #{events[0][7]}"
