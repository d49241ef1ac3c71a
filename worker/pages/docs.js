/* docs.js -- shows openapi.json, which lies beside /docs: routes, what they take and answer,
 * examples, and a form that asks this daemon and gives the same question as a curl line.
 * All texts become text nodes; nothing is ever read as HTML. */
'use strict';
(() => {
	const SHOWN = 200000; /* bytes of an answer: a page is no pager */
	let doc;

	/* --- building ------------------------------------------------------------------ */

	function el(tag, attributes, ...children) {
		const e = document.createElement(tag);

		for (const [k, v] of Object.entries(attributes || {}))
			if (v !== undefined && v !== false)
				e.setAttribute(k, v === true ? '' : v);
		e.append(...children.filter((c) => c !== null && c !== undefined && c !== ''));
		return e;
	}

	const code = (text) => el('code', null, text);
	const pre = (text) => el('pre', {tabindex: 0}, text);
	const note = (text) => el('span', {class: 'quiet'}, text);

	function fold(title, ...inside) {
		return el('details', null, el('summary', null, ...[title].flat()),
			el('div', null, ...inside));
	}

	function table(...rows) {
		return el('table', null, el('tbody', null,
			...rows.map((cells) => el('tr', null,
				...cells.map((c) => el('td', null, ...[c].flat()))))));
	}

	function resolve(v) {
		while (v && v.$ref)
			v = v.$ref.slice(2).split('/').reduce((at, part) => at[part], doc);
		return v;
	}

	/* --- schemas --------------------------------------------------------------------- */

	function limits(s) {
		const out = [];

		for (const k of ['minimum', 'maximum', 'minLength', 'maxLength', 'maxItems', 'pattern',
			'format', 'default'])
			if (s[k] !== undefined)
				out.push(`${k} ${s[k]}`);
		return out.join(', ');
	}

	function typeName(v) {
		const s = resolve(v);
		let name = s.type || (s.oneOf ? 'one of' : s.allOf ? 'object' : 'any');

		if (v.$ref)
			name = v.$ref.split('/').pop();
		else if (s.type === 'array')
			name = 'array of ' + typeName(s.items);
		else if (s.oneOf)
			name = s.oneOf.map(typeName).join(' or ');
		return s.nullable ? name + ' or null' : name;
	}

	/* What is inside an object or an array, or null. */
	function members(v) {
		const s = resolve(v);

		if (s.type === 'array')
			return members(s.items);
		if (s.oneOf) {
			const parts = s.oneOf.filter((p) => members(p));

			return parts.length === 0 ? null : el('div', null,
				...parts.map((p) => fold(code(typeName(p)), members(p))));
		}
		if (s.allOf) {
			const words = s.allOf.flatMap((p) =>
				p.properties && p.properties.code ? p.properties.code.enum : []);

			return el('div', null, 'code: ', code(words.join(' ')), members(s.allOf[0]));
		}
		if (!s.properties)
			return null;
		return table(...Object.entries(s.properties).map(([name, p]) =>
			row(name, p, !(s.required || []).includes(name))));
	}

	function row(name, v, optional) {
		const s = resolve(v), item = s.type === 'array' ? resolve(s.items) : s;
		const says = [s.description || ''], words = item.enum && item.enum.filter((w) => w !== null);

		if (words)
			says.push(' ', note('['), code(words.join(' ')), note(']'));
		if (limits(s) || limits(item))
			says.push(' ', note('(' + (limits(s) || limits(item)) + ')'));
		if (members(v))
			says.push(fold(note('its fields'), members(v)));
		return [[code(name), optional ? note(' ?') : ''], code(typeName(v)), says];
	}

	/* --- an operation ------------------------------------------------------------------ */

	function text(value) {
		return typeof value === 'string' ? value : JSON.stringify(value, null, 2);
	}

	function contents(content) {
		return Object.entries(content || {}).flatMap(([type, c]) => [
			el('p', null, code(type), ' ', code(typeName(c.schema))),
			members(c.schema) ? fold('Fields', members(c.schema)) : '',
			...Object.entries(c.examples || {}).map(([name, e]) =>
				fold(['Example: ', e.summary || name, ' ', note(name)], pre(text(e.value)))),
		]);
	}

	function heads(headers) {
		const rows = Object.entries(headers || {}).map(([name, h]) => {
			const {description, schema, required} = resolve(h);

			return row(name, {...schema, description}, !required);
		});

		return rows.length ? fold('Headers', table(...rows)) : '';
	}

	function response(status, v) {
		const r = resolve(v), words = r['x-codes'];

		return fold([code(status), ' ', r.description], heads(r.headers),
			words ? table(...Object.entries(words).map(([s, w]) => [code(s), code(w.join(' '))])) : '',
			...contents(r.content));
	}

	function operation(method, path, op) {
		const params = (op.parameters || []).map(resolve);
		const body = op.requestBody && resolve(op.requestBody);

		return el('article', {id: op.operationId, 'data-path': path, 'data-method': method},
			el('h3', null, el('span', {class: 'method ' + method}, method.toUpperCase()), code(path)),
			el('p', null, el('strong', null, op.summary + '. '), op.description),
			params.length ? el('h4', null, 'Parameters') : '',
			params.length ? table(...params.map((p) => {
				const schema = {...resolve(p.schema), description: p.description};
				const cells = row(p.name, schema, !p.required);

				return [cells[0], note(p.in), cells[1], cells[2]];
			})) : '',
			body ? el('h4', null, 'Body') : '',
			...contents(body && body.content),
			el('h4', null, 'Answers'),
			...Object.entries(op.responses).map(([s, r]) => response(s, r)),
			el('h4', null, 'Ask'), ask(method, path, params, body));
	}

	/* --- asking ------------------------------------------------------------------------- */

	function field(p) {
		const words = p.schema.enum, attributes = {name: p.in + ' ' + p.name};
		const input = words ? el('select', attributes, el('option', {value: ''}, ''),
			...words.map((w) => el('option', {value: w, selected: w === p.example}, w)))
			: el('input', {...attributes, value: p.example, placeholder: limits(p.schema),
				autocomplete: 'off', spellcheck: 'false'});

		return el('label', null, el('span', null, p.name), input);
	}

	/* A comma and a colon may stand in a query as they are, and are read more easily. */
	const escaped = (word) =>
		encodeURIComponent(word).replaceAll('%2C', ',').replaceAll('%3A', ':');

	/* URL and headers of what the form says. A list of which each value stands alone in the
	 * query is separated by commas here. */
	function question(form, path, params) {
		const base = new URL('.', location.href), query = [], headers = {};

		for (const p of params) {
			const value = form.elements[p.in + ' ' + p.name].value;
			const each = p.explode ? value.split(',') : [value];

			if (p.in === 'path')
				path = path.replace(`{${p.name}}`, encodeURIComponent(value));
			else if (value !== '' && p.in === 'header')
				headers[p.name] = value;
			else if (value !== '')
				query.push(...each.map((v) => escaped(p.name) + '=' + escaped(v)));
		}
		path = base.pathname.replace(/\/$/, '') + path;
		return {url: base.origin + path + (query.length ? '?' + query.join('&') : ''), headers};
	}

	const quoted = (word) => `'${word.replaceAll('\'', '\'\\\'\'')}'`;

	function curl(method, q, body) {
		const words = ['curl -si', quoted(q.url)];

		for (const [k, v] of Object.entries(q.headers))
			words.push('-H', quoted(`${k}: ${v}`));
		if (method === 'post')
			words.push('-d', quoted(body));
		return words.join(' ');
	}

	async function send(method, q, body, out) {
		out.replaceChildren(note('...'));
		try {
			const r = await fetch(q.url, {method: method.toUpperCase(), headers: q.headers,
				cache: 'no-store', body: method === 'post' ? body : undefined});
			const type = r.headers.get('Content-Type') || '';
			let got = await r.text();

			if (/bittorrent/.test(type))
				got = `${got.length} characters of a .torrent`;
			else if (type === 'application/json')
				got = text(JSON.parse(got));
			if (got.length > SHOWN)
				got = got.slice(0, SHOWN) + '\n...';
			out.replaceChildren(
				el('p', {class: r.ok || r.status === 304 ? 'get' : 'bad'}, `${r.status} ${r.statusText}`),
				pre([...r.headers].map(([k, v]) => `${k}: ${v}`).join('\n')), got ? pre(got) : '');
		} catch (e) {
			out.replaceChildren(el('p', {class: 'bad'}, String(e)));
		}
	}

	function ask(method, path, params, body) {
		const json = body && body.content['application/json'];
		const examples = Object.values((json && json.examples) || {});
		const area = json && el('textarea', {name: 'body', spellcheck: 'false', 'aria-label': 'Body'});
		const line = pre(''), out = el('div', {class: 'out', 'aria-live': 'polite'});
		const copy = el('button', {type: 'button'}, 'Copy');
		const form = el('form', null, ...params.map(field), area, line,
			el('button', {type: 'submit'}, 'Send'), copy, out);
		const now = () => question(form, path, params), what = () => area ? area.value : '';
		const write = () => { line.textContent = curl(method, now(), what()); };

		if (area && examples.length)
			area.value = text(examples[0].value);
		form.addEventListener('input', write);
		form.addEventListener('submit', (e) => {
			e.preventDefault();
			send(method, now(), what(), out);
		});
		copy.addEventListener('click', () => {
			getSelection().selectAllChildren(line);
			if (navigator.clipboard) /* only where the page is trusted: https, localhost */
				navigator.clipboard.writeText(line.textContent).catch(() => {});
		});
		write();
		return form;
	}

	/* --- the page ------------------------------------------------------------------------ */

	function show() {
		const nav = document.getElementById('nav'), main = document.getElementById('main');
		const all = Object.entries(doc.paths).flatMap(([path, item]) =>
			Object.entries(item).map(([method, op]) => ({path, method, op})));

		document.title = doc.info.title + ' API';
		main.replaceChildren(el('h1', null, doc.info.title + ' ', note(doc.info.version)),
			...doc.info.description.split('\n\n').map((p) => el('p', null, p)),
			el('p', null, 'As a file: ', el('a', {href: 'openapi.json'}, 'openapi.json')));
		for (const tag of doc.tags) {
			const own = all.filter(({op}) => op.tags.includes(tag.name));

			nav.append(el('h2', null, tag.name), ...own.map(({path, method, op}) =>
				el('a', {href: '#' + op.operationId},
					el('span', {class: 'method ' + method}, method.toUpperCase()), path)));
			main.append(el('h2', null, tag.name), el('p', null, tag.description),
				...own.map(({path, method, op}) => operation(method, path, op)));
		}
		document.body.dataset.shown = all.length;
		if (location.hash)
			location.replace(location.hash);
	}

	fetch('openapi.json').then((r) => {
		if (!r.ok)
			throw new Error('openapi.json: ' + r.status);
		return r.json();
	}).then((d) => {
		doc = d;
		show();
	}).catch((e) => {
		document.getElementById('state').replaceChildren(el('span', {class: 'bad'}, String(e)));
	});
})();
