"""Jobs that ended make room for others, once they were told for a minute."""
import metacache
from procs import wait_until

API = '/api/v1/metadata'


def test_ended_jobs_make_room(daemon, tmp_path):
    d = daemon({'metadata.jobs': 2, 'metadata.cache_dir': str(tmp_path), 'http.workers': 1})
    for key in 'aa' * 20, 'bb' * 20:
        metacache.put(str(tmp_path), key, metacache.described(key))

    def ask(key):
        return d.request('POST', API + '?async=1', {}, metacache.asking(key))

    def status(answer):
        return d.get('/api/v1/jobs/' + answer.json['id']).status

    first, second = ask('aa' * 20), ask('bb' * 20)
    assert ask('aa' * 20).status == 503
    third = wait_until(lambda: (lambda a: a if a.status == 202 else None)(ask('aa' * 20)), 70,
                       'there is room', every=1)
    assert [status(a) for a in (first, second, third)] == [404, 200, 200]
    assert d.top()['counters']['meta_jobs_early'] == 1
