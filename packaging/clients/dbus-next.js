const dbus = require('dbus-next');

(async () => {
  const bus = dbus.systemBus();
  const object = await bus.getProxyObject('org.osctl.Eventd', '/org/osctl/Eventd');
  const eventd = object.getInterface('org.osctl.Eventd');
  await eventd.Report('probe_node', { pool: new dbus.Variant('s', 'tank'), n: new dbus.Variant('i', 7) });
  const [cursor, events] = await eventd.WaitEvents('oldest', { type: new dbus.Variant('s', 'probe_node') }, 0, 60000);
  // seq and time_usec are of type t, which is a BigInt: JSON.stringify wants a replacer.
  const text = JSON.stringify(events[0], (key, value) => typeof value === 'bigint' ? Number(value) : value);
  if (events[0][0] !== 'probe_node' || typeof events[0][5] !== 'bigint' || events[0][7].n.value !== 7) throw new Error(text);
  const properties = object.getInterface('org.freedesktop.DBus.Properties');
  if ((await properties.Get('org.osctl.Eventd', 'LastSequence')).value < 1n) throw new Error('LastSequence');
  console.log(cursor, text);
  bus.disconnect();
})().catch((error) => { console.error(error); process.exit(1); });
