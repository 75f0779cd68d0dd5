use strict;
use warnings;
use Net::DBus qw(:typing);

my $bus = Net::DBus->system;
$bus->timeout(70_000);
my $object = $bus->get_service("org.osctl.Eventd")->get_object("/org/osctl/Eventd");
my $eventd = $object->as_interface("org.osctl.Eventd");
# A number becomes a string unless its type is said.
$eventd->Report("probe_perl", { pool => "tank", n => dbus_int32(7) });
my ($cursor, $events) = $eventd->WaitEvents("oldest", { type => "probe_perl" }, 0, 60_000);
die "got $events->[0][0]" unless $events->[0][0] eq "probe_perl" && $events->[0][7]{n} == 7;
die "LastSequence" unless $object->as_interface("org.freedesktop.DBus.Properties")->Get("org.osctl.Eventd", "LastSequence") >= 1;
print "$cursor $events->[0][7]{n}\n";
