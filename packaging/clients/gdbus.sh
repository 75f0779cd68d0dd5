# gdbus writes a variant as <VALUE>. dbus-send and qdbus cannot send options: they have no a{sv}.
gdbus call --system --dest org.osctl.Eventd --object-path /org/osctl/Eventd --method org.osctl.Eventd.Report \
	probe_gdbus "{'pool': <'tank'>, 'n': <7>}"
gdbus call --timeout 70 --system --dest org.osctl.Eventd --object-path /org/osctl/Eventd --method org.osctl.Eventd.WaitEvents \
	oldest "{'type': <'probe_gdbus'>}" 0 60000
dbus-send --system --print-reply --dest=org.osctl.Eventd /org/osctl/Eventd org.osctl.Eventd.Report \
	string:probe dict:string:variant:pool,tank 2>&1 | grep -q 'dbus-send' || { echo "dbus-send sends a{sv} now"; exit 1; }
