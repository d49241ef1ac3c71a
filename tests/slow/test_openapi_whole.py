"""/openapi.json against all that it describes: waits, jobs, full daemons, clients from afar."""
import pytest

import apicheck
import apiscenes
import netns


@pytest.fixture(scope='module')
def scenes(module_stage, mmdb):
    return apiscenes.play(module_stage, mmdb, True)


def test_all_of_it(scenes):
    document = apicheck.Document()
    for s in scenes:
        apicheck.check_answer(document, s)
    apicheck.check_requests(document, scenes)
    apicheck.check_examples(document, scenes)
    if netns.why_not() is None:
        apicheck.check_whole(document, scenes)
