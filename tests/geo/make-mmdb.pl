#!/usr/bin/perl
# make-mmdb.pl DIR -- writes small MMDB files with known contents into DIR:
#
#   city.mmdb       MaxMind's nested City layout, IPv6 tree
#   city-flat.mmdb  ip-location-db's flat City layout; coordinates as numbers
#   city-text.mmdb  the same, coordinates as texts, no country name anywhere
#   city-v4.mmdb    nested, IPv4 tree only
#   asn.mmdb        AS numbers and names (both providers have one layout)
#   lite.mmdb       IPinfo Lite's flat layout: country and "AS64501" in one file
#
# and of each further layout one small file, with Berlin on 192.0.2.0/24:
#
#   country.mmdb    MaxMind's and DB-IP's Country       isp.mmdb         MaxMind's ISP
#   enterprise.mmdb MaxMind's Enterprise: traits.*      dbip-full.mmdb   DB-IP, traits.*
#   dbip-city.mmdb  DB-IP City Lite                     dbip-asn.mmdb    DB-IP ASN Lite
#   ipinfo-location.mmdb, ipinfo-asn.mmdb, ipinfo-country-asn.mmdb, ipinfo-core.mmdb
#   flat-country.mmdb, flat-asn.mmdb, flat-geolite2.mmdb         ip-location-db
#   odd.mmdb        none of these: "name" and "radius" mean something else
#   far.mmdb        another country than city.mmdb says, for 127.1.0.0/16
#   old.mmdb        built 45 days ago
#   other.mmdb      city.mmdb as a next month's: other towns on 127.0/16 and 127.1/16
#
# Places stand on 127/8 too, so that a loopback swarm has them:
#   127.0.0.0/16 New York    127.1.0.0/16 Berlin    127.2.0.0/16 Japan, no city
#   127.3.0.0/16 an AS only  127.4.0.0/16 nothing
# and on documentation addresses, as listed below.
use strict;
use warnings;
use utf8;
use MaxMind::DB::Writer::Tree;

my $dir = shift // die "usage: make-mmdb.pl DIR\n";

my %types = (
	accuracy_radius => 'uint16', as_domain => 'utf8_string', as_name => 'utf8_string',
	asn => 'utf8_string', autonomous_system_number => 'uint32',
	autonomous_system_organization => 'utf8_string', city => 'map', continent => 'utf8_string',
	country => 'map', country_code => 'utf8_string', en => 'utf8_string', de => 'utf8_string',
	geoname_id => 'uint32', iso_code => 'utf8_string', latitude => 'double',
	location => 'map', longitude => 'double', names => 'map', postcode => 'utf8_string',
	registered_country => 'map', state1 => 'utf8_string', state2 => 'utf8_string',
	subdivisions => [ 'array', 'map' ], time_zone => 'utf8_string',
	timezone => 'utf8_string',
	confidence => 'uint16', connection_type => 'utf8_string', country_name => 'utf8_string',
	domain => 'utf8_string', isp => 'utf8_string', lat => 'utf8_string', lng => 'utf8_string',
	name => 'utf8_string', organization => 'utf8_string', postal_code => 'utf8_string',
	radius => 'utf8_string', region => 'utf8_string', route => 'utf8_string',
	traits => 'map', type => 'utf8_string', user_type => 'utf8_string',
);

sub build {
	my ($name, $type, $version, $extra, @rows) = @_;
	my %map = (%types, %$extra);
	my $tree = MaxMind::DB::Writer::Tree->new(
		ip_version => $version, record_size => 24, database_type => $type,
		languages => ['en'], description => { en => 'Peerscope test data' },
		# 127/8 and the documentation blocks are what we want to fill
		remove_reserved_networks => 0, alias_ipv6_to_ipv4 => 0,
		map_key_type_callback => sub { $map{ $_[0] } },
	);
	$tree->_set_build_epoch($$extra{built}) if $$extra{built};
	$tree->insert_network(@$_) for @rows;
	open my $fh, '>:raw', "$dir/$name" or die "$dir/$name: $!\n";
	$tree->write_tree($fh);
	close $fh or die "$dir/$name: $!\n";
}

sub nested {
	my ($code, $country, $city, $region, $lat, $lon, $zone) = @_;
	my %r = (country => { iso_code => $code, geoname_id => 1,
			      names => { de => "$country (de)", en => $country } });
	$r{city} = { names => { en => $city } } if defined $city;
	$r{subdivisions} = [ { iso_code => 'X', names => { en => $region } } ] if defined $region;
	$r{location} = { latitude => $lat, longitude => $lon, accuracy_radius => 20,
			 time_zone => $zone } if defined $lat;
	return \%r;
}

sub flat {
	my ($code, $city, $region, $lat, $lon, $zone) = @_;
	return { country_code => $code, city => $city, state1 => $region, state2 => '',
		 latitude => $lat, longitude => $lon, postcode => '', timezone => $zone };
}

my @nyc = ('US', 'United States', 'New York', 'New York', 40.7128, -74.006,
	   'America/New_York');
my @berlin = ('DE', 'Germany', 'Berlin', 'State of Berlin', 52.52437, 13.41053,
	      'Europe/Berlin');
my @v4 = (
	[ '127.0.0.0/16', nested(@nyc) ],
	[ '127.1.0.0/16', nested(@berlin) ],
	[ '127.2.0.0/16', nested('JP', 'Japan') ],
	[ '192.0.2.0/24', nested(@berlin) ],
	[ '198.51.100.0/25', nested('BR', 'Brazil', 'São Paulo', 'São Paulo', -23.5475,
				    -46.63611, 'America/Sao_Paulo') ],
	# a name of more bytes than struct place has room for, cut inside an é
	[ '198.51.100.128/25', nested('FR', 'France', 'é' x 80) ],
	# no country, only where the range is registered
	[ '203.0.113.0/24', { registered_country => { iso_code => 'NL',
						      names => { en => 'The Netherlands' } } } ],
);
build('city.mmdb', 'GeoLite2-City', 6, {}, @v4,
      [ '2001:db8:1::/48', nested(@berlin) ], [ '2001:db8:2::/48', nested(@nyc) ]);
build('city-v4.mmdb', 'GeoLite2-City', 4, {}, @v4);

my %flat_city = (city => 'utf8_string');
my @flat = (
	[ '127.0.0.0/16', flat('US', 'New York', 'New York', 40.7128, -74.006,
			       'America/New_York') ],
	[ '127.1.0.0/16', flat('DE', 'Berlin', 'Berlin', 52.52437, 13.41053,
			       'Europe/Berlin') ],
	[ '127.2.0.0/16', { country_code => 'JP' } ],
	[ '192.0.2.0/24', flat('GB', 'London', 'England', 51.50853, -0.12574,
			       'Europe/London') ],
	[ '2001:db8:1::/48', flat('CW', 'Willemstad', '', 12.1084, -68.93354,
				  'America/Curacao') ],
	# codes and numbers that are none
	[ '203.0.113.0/25', flat('ZZ', 'Nowhere', '', 91.5, 200, '') ],
	[ '203.0.113.128/25', flat('4!', '', '', 0, 0, '') ],
);
build('city-flat.mmdb', 'ipdb City', 6, \%flat_city, @flat);
build('city-text.mmdb', 'ipdb City', 6,
      { %flat_city, latitude => 'utf8_string', longitude => 'utf8_string' }, @flat,
      [ '198.51.100.0/24', flat('us', 'Boston', '', '42.36x', '-71', '') ]);

sub asn { return { autonomous_system_number => $_[0], autonomous_system_organization => $_[1] } }
build('asn.mmdb', 'GeoLite2-ASN', 6, {},
      [ '127.0.0.0/16', asn(64500, 'Example ISP') ],
      [ '127.1.0.0/16', asn(64501, 'Beispiel Netz GmbH') ],
      [ '127.3.0.0/16', asn(64503, 'Only A Number') ],
      [ '192.0.2.0/24', asn(4200000000, 'Thirty-two Bits') ],
      [ '2001:db8:1::/48', asn(64506, 'Six "Quoted" Net') ]);

build('lite.mmdb', 'ipinfo lite.mmdb', 6, { country => 'utf8_string' },
      [ '127.0.0.0/16', { country => 'United States', country_code => 'US',
			  continent => 'North America', asn => 'AS64500',
			  as_name => 'Example ISP', as_domain => 'example.net' } ],
      [ '127.1.0.0/16', { country => 'DE', asn => 'AS64501' } ]);

# --- every other layout, one record each -----------------------------------------

my %text = map { $_ => 'utf8_string' } qw(city country continent);
sub on { return [ '192.0.2.0/24', $_[0] ] }

my %country = %{ nested('DE', 'Germany') };
build('country.mmdb', 'DBIP-Country-Lite', 6, {},
      on({ %country, continent => 'EU', registered_country => { iso_code => 'NL' } }));
build('isp.mmdb', 'GeoIP2-ISP', 6, {},
      on({ %{ asn(64501, 'BEISPIEL-AS') }, isp => 'Beispiel Netz', organization => 'A Customer' }));
build('enterprise.mmdb', 'GeoIP2-Enterprise', 6, {},
      on({ %{ nested(@berlin) }, traits => { isp => 'Beispiel Netz', organization => 'A Customer',
		autonomous_system_number => 64501, autonomous_system_organization => 'BEISPIEL-AS',
		connection_type => 'Cable/DSL', user_type => 'residential', domain => 'example.net' } }));
build('dbip-full.mmdb', 'DBIP-Location-ISP (compat=Enterprise)', 6, { iso_code => 'utf8_string' },
      on({ %{ nested(@berlin) }, traits => { organization => 'A Customer',
		autonomous_system_number => 64501, user_type => 'hosting' } }));
my %lite = %{ nested('DE', 'Germany', 'Berlin', 'State of Berlin') };
build('dbip-city.mmdb', 'DBIP-City-Lite', 6, {},
      on({ %lite, location => { latitude => 52.52437, longitude => 13.41053 } }));
build('dbip-asn.mmdb', 'DBIP-ASN-Lite (compat=GeoLite2-ASN)', 6, {}, on(asn(64501, 'Beispiel Netz')));
build('ipinfo-location.mmdb', 'ipinfo standard_location.mmdb', 6, \%text,
      on({ country => 'DE', city => 'Berlin', region => 'State of Berlin', lat => '52.52437',
	   lng => '13.41053', radius => '50', postal_code => '10115', timezone => 'Europe/Berlin' }));
build('ipinfo-asn.mmdb', 'ipinfo standard_asn.mmdb', 6, \%text,
      on({ asn => 'AS64501', name => 'Beispiel Netz', domain => 'example.net', type => 'isp',
	   route => '192.0.2.0/24' }));
build('ipinfo-country-asn.mmdb', 'ipinfo country_asn.mmdb', 6, \%text,
      on({ country => 'DE', country_name => 'Germany', continent => 'EU', asn => 'AS64501',
	   as_name => 'Beispiel Netz', as_domain => 'example.net' }));
build('ipinfo-core.mmdb', 'ipinfo core', 6,
      { %text, accuracy_radius => 'uint16' },
      on({ city => 'Berlin', region => 'State of Berlin', country => 'Germany',
	   country_code => 'DE', latitude => 52.52437, longitude => 13.41053,
	   timezone => 'Europe/Berlin', asn => 'AS64501', as_name => 'Beispiel Netz' }));
build('flat-country.mmdb', 'country ipv4', 4, {}, on({ country_code => 'DE' }));
build('flat-asn.mmdb', 'asn ipv4', 4, {}, on(asn(64501, 'Beispiel Netz')));
build('flat-geolite2.mmdb', 'city ipv4', 4, { %flat_city, latitude => 'float', longitude => 'float' },
      on(flat('DE', 'Berlin', 'State of Berlin', 52.52437, 13.41053, 'Europe/Berlin')));
build('odd.mmdb', 'Some list', 6, \%text, on({ name => 'blocked', radius => '7', country => 'DE' }));
build('far.mmdb', 'GeoLite2-City', 6, {},
      [ '127.1.0.0/16', { %{ nested('FR', 'France', 'Lyon', 'Rhone', 45.75, 4.85, 'Europe/Paris') },
			  traits => { isp => 'Lyon Net' } } ]);
build('other.mmdb', 'GeoLite2-City', 6, {},
      [ '127.0.0.0/16', nested('US', 'United States', 'Boston', 'Massachusetts', 42.35843, -71.05977,
			       'America/New_York') ],
      [ '127.1.0.0/16', nested('DE', 'Germany', 'Hamburg', 'Hamburg', 53.57532, 10.01534,
			       'Europe/Berlin') ]);
build('old.mmdb', 'GeoLite2-City', 6, { built => time() - 45 * 86400 }, on(nested(@berlin)));
build('none.mmdb-', 'Empty', 6, {}, on({ domain => 'example.net' }));
