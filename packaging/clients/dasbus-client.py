from dasbus.connection import SystemMessageBus
from dasbus.typing import Int, Str, get_variant

eventd = SystemMessageBus().get_proxy("org.osctl.Eventd", "/org/osctl/Eventd")
eventd.Report("probe_dasbus", {"pool": get_variant(Str, "tank"), "n": get_variant(Int, 7)})
cursor, events = eventd.WaitEvents("oldest", {"type": get_variant(Str, "probe_dasbus")}, 0, 60000, timeout=70000)
assert events[0][0] == "probe_dasbus" and events[0][7]["n"].unpack() == 7, events
assert eventd.LastSequence >= 1
print(cursor, events[0][7])
