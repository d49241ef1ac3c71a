"""/docs in the real Chromium: everything of openapi.json is shown, its forms work, and neither
its policy nor its script has anything to complain of. Nothing of it asks elsewhere."""
import json
import os
import shlex
import subprocess

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import apicheck
import metacache
from procs import ROOT, wait_until

KEY = '94c2fd8fb9bc8f2fc71a2cbe9d4b866f227a0209'
# No sandbox of its own for root; no look at the world, not even for a name.
FLAGS = ('--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
         '--disable-background-networking', '--disable-component-update', '--disable-sync',
         '--no-first-run', '--no-default-browser-check', '--no-proxy-server',
         '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.*',
         '--window-size=1200,1600')


# What makes the page wider than the screen.
WIDE = '''
    const room = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= room)
        return [];
    return [...document.querySelectorAll("body *")]
        .filter((e) => e.getBoundingClientRect().right > room + 1)
        .map((e) => e.tagName + "." + e.className + " " + e.textContent.slice(0, 40)).slice(0, 9);
'''
# Texts whose contrast is below 4.5 (WCAG 2, AA).
DIM = '''
    const light = (c) => c.map((v) => v / 255)
        .map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
    const back = (e) => {
        for (; e; e = e.parentElement) {
            const c = rgb(getComputedStyle(e).backgroundColor);
            if (c.length === 3 || c[3] > 0)
                return c.slice(0, 3);
        }
        return [255, 255, 255];
    };
    const found = new Set();
    for (const e of document.querySelectorAll("body *")) {
        const a = light(rgb(getComputedStyle(e).color).slice(0, 3)), b = light(back(e));
        if ((Math.max(a, b) + .05) / (Math.min(a, b) + .05) < 4.5)
            found.add(e.tagName + "." + e.className);
    }
    return [...found];
'''


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = '/usr/bin/chromium'
    for flag in (*FLAGS, f'--user-data-dir={tmp_path_factory.mktemp("chromium")}'):
        options.add_argument(flag)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
    driver = webdriver.Chrome(service=Service('/usr/bin/chromedriver'), options=options)
    yield driver
    driver.quit()


@pytest.fixture
def shown(daemon, browser, tmp_path):
    """A daemon with a torrent in its cache, whose page is in the browser."""
    d = daemon({'metadata.cache_dir': str(tmp_path),
                'master.drain_timeout': '1s'})          # browsers keep connections
    metacache.put(str(tmp_path), KEY, metacache.described(KEY))
    load(browser, d.url + '/docs')
    return d


def load(browser, url):
    browser.get_log('browser')
    browser.get_log('performance')
    browser.get(url)
    wait_until(lambda: browser.execute_script('return document.body.dataset.shown'), 30,
               'the page is there')


def complaints(browser):
    return [e['message'] for e in browser.get_log('browser') if e['level'] != 'INFO']


def asked(browser):
    """URLs of all that pages asked for, but those of the browser's own new tab."""
    events = [json.loads(e['message'])['message'] for e in browser.get_log('performance')]
    return [e['params']['request']['url'] for e in events
            if e['method'] == 'Network.requestWillBeSent' and
            not e['params']['documentURL'].startswith('chrome')]


def article(browser, operation):
    return browser.find_element(By.ID, operation)


def send(browser, operation, **fields):
    """What is shown of the answer: (the line of its status, its body)."""
    form = article(browser, operation).find_element(By.TAG_NAME, 'form')
    for name, value in fields.items():
        e = form.find_element(By.NAME, name.replace('_', ' '))
        if e.tag_name == 'select':
            e.find_element(By.CSS_SELECTOR, f'option[value="{value}"]').click()
        else:
            e.clear()
            e.send_keys(value)
    form.find_element(By.CSS_SELECTOR, 'button[type=submit]').click()
    out = form.find_element(By.CLASS_NAME, 'out')
    wait_until(lambda: out.find_elements(By.TAG_NAME, 'p'), 30, 'an answer')
    boxes = out.find_elements(By.TAG_NAME, 'pre')
    return out.find_element(By.TAG_NAME, 'p').text, boxes[-1].get_property('textContent')


def line(browser, operation):
    """The curl line of a form."""
    return article(browser, operation).find_element(
        By.CSS_SELECTOR, 'form > pre').get_property('textContent')


def run(command):
    """(status, body) by the real curl."""
    words = shlex.split(command)
    assert words[0] == 'curl'
    done = subprocess.run(words, check=True, capture_output=True, timeout=60)
    head, _, body = done.stdout.partition(b'\r\n\r\n')
    return int(head.split()[1]), body


def test_everything_is_shown(shown, browser):
    doc = apicheck.load()
    for path, item in doc['paths'].items():
        for method, op in item.items():
            a = article(browser, op['operationId'])
            assert a.get_attribute('data-path') == path
            text = a.get_property('textContent')
            assert path in text and method.upper() in text and op['summary'] in text
            for status, r in op['responses'].items():
                assert status in text and apicheck.Document().resolve(r)['description'] in text
            link = browser.find_element(By.CSS_SELECTOR, f'nav a[href="#{op["operationId"]}"]')
            assert path in link.text
    body = browser.find_element(By.TAG_NAME, 'main').get_property('textContent')
    for name, schema in doc['components']['schemas'].items():
        for field in schema.get('properties', ()):
            assert field in body, (name, field)
    for p in doc['components']['parameters'].values():
        assert p['name'] in body and p['description'] in body
    page = apicheck.load()['paths']['/peers/{id}']['get']['responses']['200']
    for e in page['content']['application/json']['examples'].values():
        assert e['summary'] in body and e['value']['infohash'] in body
    assert complaints(browser) == []
    assert {u.partition('/docs')[0] for u in asked(browser) if not u.startswith('data:')} == {
        shown.url, shown.url + '/openapi.json'}


def test_the_forms_ask(shown, browser):
    d = shown
    assert send(browser, 'getLive') == ('200 OK', '{\n  "status": "alive"\n}')
    status, body = send(browser, 'getPeers', query_wait='0', query_limit='3',
                        query_sort='-progress,country', **{'query_x.pe': '127.0.0.9:1'})
    assert status == '200 OK' and json.loads(body)['infohash'] == KEY
    assert line(browser, 'getPeers') == (
        f"curl -si '{d.url}/peers/{KEY}?limit=3&wait=0&sort=-progress,country"
        "&x.pe=127.0.0.9:1'")
    assert run(line(browser, 'getPeers'))[0] == 200
    status, body = send(browser, 'getPeers', query_format='ndjson', query_wait='0',
                        **{'query_x.pe': '127.0.0.9:1,127.0.0.8:1'})
    assert status == '200 OK' and [json.loads(x)['ip'] for x in body.splitlines()]
    status, body = send(browser, 'postMetadata', body=json.dumps({'info_hash': KEY}))
    assert status == '200 OK' and json.loads(body)['info_hash'] == KEY
    assert json.loads(run(line(browser, 'postMetadata'))[1])['info_hash'] == KEY
    etag = d.get(f'/api/v1/metadata/{KEY}').headers['ETag']
    status, _ = send(browser, 'getMetadata', **{'header_If-None-Match': etag})
    assert status.startswith('304') and run(line(browser, 'getMetadata'))[0] == 304
    assert complaints(browser) == []
    status, body = send(browser, 'getPeers', path_id="it's <b>none</b>", query_format='csv')
    assert status.startswith('400') and json.loads(body)['code'] == 'bad_id'
    assert run(line(browser, 'getPeers'))[0] == 400
    said = complaints(browser)              # the browser itself notes a 400
    assert len(said) == 1 and 'status of 400' in said[0]


def test_the_policy_holds(shown, browser):
    """A script, a style and a picture that somebody got into the page stay dead."""
    browser.execute_script('''
        for (const [tag, key, value] of [['script', 'text', 'document.title = "harmed"'],
                                         ['img', 'src', 'http://127.0.0.1:9/x.png'],
                                         ['iframe', 'src', 'http://127.0.0.1:9/']]) {
            const e = document.createElement(tag);
            try { e[key] = value; } catch (x) { console.error(String(x)); }
            document.body.append(e);
        }
        try { document.body.innerHTML = '<b>harmed</b>'; } catch (x) { console.error(String(x)); }
    ''')
    assert browser.title == 'Peerscope API'
    assert browser.find_elements(By.TAG_NAME, 'article')
    said = wait_until(lambda: complaints(browser), what='the policy is heard')
    assert any('Content Security Policy' in s or 'TrustedHTML' in s for s in said), said


def test_a_narrow_screen_and_the_dark(shown, browser):
    """Nothing sticks out at the side, and colours can be read."""
    def narrow(width, dark):
        browser.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', {
            'width': width, 'height': 800, 'deviceScaleFactor': 1, 'mobile': True})
        browser.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': [
            {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}]})
    try:
        for width, dark in (320, False), (360, True), (768, False):
            narrow(width, dark)
            browser.execute_script(
                'for (const d of document.querySelectorAll("details")) d.open = true')
            wide = browser.execute_script(WIDE)
            assert wide == [], (width, wide)
            assert browser.execute_script(DIM) == [], dark
    finally:
        browser.execute_cdp_cmd('Emulation.clearDeviceMetricsOverride', {})
        browser.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': []})


def test_by_keys_alone(shown, browser):
    """From the list of routes to a form, and the answer."""
    browser.find_element(By.CSS_SELECTOR, 'nav a[href="#getLive"]').send_keys(Keys.ENTER)
    for _ in range(40):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        at = browser.switch_to.active_element
        if at.get_attribute('type') == 'submit':
            break
    here = article(browser, 'getLive')
    assert at == here.find_element(By.CSS_SELECTOR, 'button[type=submit]')
    assert at.value_of_css_property('outline-style') != 'none'
    at.send_keys(Keys.ENTER)
    wait_until(lambda: '200 OK' in here.find_element(By.CLASS_NAME, 'out').text, 20, 'an answer')


def test_behind_a_prefix(stage, shown, browser):
    """A proxy that serves us below a path: the page finds its parts, and asks there."""
    from parts import Nginx
    n = Nginx(stage, f'location /scope/ {{ proxy_pass {shown.url}/; }}')
    url = f'http://{n.address}:{n.port}/scope'
    load(browser, f'{url}/docs')
    assert send(browser, 'getReady')[0] == '200 OK'
    assert run(line(browser, 'getReady')) == (200, b'{"status":"ready"}')
    assert line(browser, 'getReady') == f"curl -si '{url}/readyz'"
    assert complaints(browser) == []


def test_it_is_made_of_nothing_else():
    for name in 'docs.html', 'docs.js', 'docs.css':
        with open(os.path.join(ROOT, 'worker', 'pages', name), encoding='utf-8') as f:
            text = f.read()
        assert '://' not in text and '@import' not in text and 'innerHTML' not in text
