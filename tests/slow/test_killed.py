"""kill -9 in the middle of writes, a hundred times, over one metadata cache."""
import os
import signal

from metastorm import Storm, torrents
from procs import slow, wait_until

KILLS = 100


def test_a_hundred_kills_in_the_middle_of_writes(daemon, tmp_path):
    """A daemon for each kill: after the first ones a new collector waits longer and longer.
    What the next one finds is what the one before had written, whole or not at all."""
    made = torrents(60)
    conf = {'http.workers': 1, 'metadata.downloads': 'on', 'metadata.cache_dir': str(tmp_path),
            'metadata.cache_size': '8m', 'metadata.seeding': 'off', 'swarm.cold_rate': 0}
    damaged = 0
    for n in range(KILLS):
        d = daemon(conf)
        storm = Storm(d, made, uploads=2)
        try:
            def stored():
                return d.top()['counters']['meta_stored']
            wait_until(lambda: stored() > n % 7 or storm.bad, 30 * slow(), 'some are written')
            os.kill(d.collector(), signal.SIGKILL)
        finally:
            storm.stop()
        assert not storm.bad, (n, storm.bad[:3])
        damaged += d.top()['counters']['meta_damaged']
        d.finish()
    assert damaged == 0
    last = Storm(daemon(conf), made, uploads=1).stop()
    assert last.check_all() > len(made) / 2 and not last.bad
