"""The DHT's watchdog: routers that are late, nodes that all die."""
from procs import wait_until


def nodes_of(d):
    return d.get('/health').json['dht_nodes']


def conf(state, router):
    return {'swarm.dht': 'on', 'swarm.dht_bootstrap': router, 'swarm.dht_state': str(state)}


def test_a_router_that_is_25_s_late_is_found(daemon, dht, relay, tmp_path):
    nodes = dht(3)
    router = relay(nodes.nodes[0], mode='swallow')
    d = daemon(conf(tmp_path / 's', f'{router.address}:{router.port}'))
    wait_until(lambda: len(d.log_lines('asking the routers again')) == 2, 25, 'asked twice')
    assert nodes_of(d) == 0 and router.ask('count')['answered'] == 0
    # Patience: not a packet every second for as long as nobody answers.
    assert router.ask('count')['swallowed'] <= 40
    router.set(mode='pass')
    wait_until(lambda: nodes_of(d), 40, 'the next try finds it')


def test_all_nodes_die_and_others_start_on_the_router(daemon, dht, relay, tmp_path):
    first = dht(3)
    router = relay(first.nodes[0])
    d = daemon(conf(tmp_path / 's', f'{router.address}:{router.port}'))
    wait_until(lambda: nodes_of(d) >= 2, 20, 'there are nodes')
    first.proc.stop()
    wait_until(lambda: nodes_of(d) == 0, 300, 'the nodes are gone', every=0.5)
    router.set(target=dht(3).nodes[0])
    wait_until(lambda: nodes_of(d), 60, 'the new ones are found', every=0.5)
