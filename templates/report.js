(() => {
  'use strict';

  const PAGE = 100;
  const byId = (id) => document.getElementById(id);
  const packed = JSON.parse(byId('data').textContent);
  const severities = Object.keys(packed.severities);
  const outcomes = Object.keys(packed.outcomes);
  const FACETS = ['outcome', 'severity', 'control', 'account', 'owner', 'by_policy'];
  const NO_OWNER = 'no owner';
  const NOT_LOOKED_UP = 'not looked up';

  // ------------------------------------------------------------ records

  const isNumber = new Set(packed.numbers);

  const unpack = (values) => {
    const record = {};
    packed.fields.forEach((name, at) => {
      const value = values[at];
      record[name] = value === null || isNumber.has(name) ? value : packed.texts[value];
    });
    record.account = record.account_id;
    return record;
  };

  // Times are written as 2026-11-22T19:00:00Z.
  const day = (time) => (time === null ? '' : time.slice(0, 10));
  const minute = (time) => (time === null ? '' : `${time.slice(0, 16).replace('T', ' ')} UTC`);
  const moment = (time) => (time === null ? null : Date.parse(time));

  const frameworksOf = (record) =>
    [...new Set((record.frameworks || '').split('; ').map((clause) => clause.split(' ')[0]).filter(Boolean))].join(', ');
  const titleOf = (record) => {
    const { title } = packed.controls[record.control];
    return record.by_policy === 'false' ? `${title} [${frameworksOf(record)}]` : title;
  };
  const askedBy = (record) =>
    [record.by_policy === 'false' ? '' : 'the policy', record.frameworks].filter(Boolean).join('; ');
  const keyOf = (record) => record.access_key_id || record.credential_id || (record.slot ? `slot ${record.slot}` : '');
  const isUsed = (record) => record.last_used_state === 'used' && record.last_used_at !== null;
  const usedIn = (record) => [record.last_used_service, record.last_used_region].filter(Boolean).join(' ');
  const accountOf = (record) =>
    record.account_name ? `${record.account_name} (${record.account_id})` : record.account_id;

  const cellsOf = (record) => ({
    severity: record.severity,
    severity_word: packed.severities[record.severity],
    title: titleOf(record),
    reason: record.reason,
    account: record.account_name || record.account_id,
    account_id: record.account_name ? record.account_id : '',
    user: record.user,
    owner: record.owner || '',
    key: keyOf(record),
    status: record.key_status || '',
    age: record.age_days === null ? '' : String(record.age_days),
    used: isUsed(record) ? day(record.last_used_at) : record.last_used_state || '',
    used_in: isUsed(record) ? usedIn(record) : '',
    due: day(record.due_at),
    outcome: record.outcome,
    outcome_word: packed.outcomes[record.outcome],
  });

  const lastUsedInFull = (record) => {
    const where = usedIn(record);
    const known = minute(record.last_used_at) + (record.last_used_at !== null && where ? ` (${where})` : '');
    if (isUsed(record)) return known;
    return known ? `${record.last_used_state}; the last use on record is ${known}` : record.last_used_state || '';
  };

  const detailsOf = (record) => ({
    ...record,
    account: accountOf(record),
    key: keyOf(record),
    rule: packed.controls[record.control].rule,
    remedy: packed.controls[record.control].remedy,
    created_at: minute(record.created_at),
    due_at: minute(record.due_at),
    last_used: lastUsedInFull(record),
    owner: record.owner && record.owner_source ? `${record.owner} (${record.owner_source})` : ownerOf(record),
    asked_by: askedBy(record),
    rotation_since: minute(record.rotation_since),
  });

  const SEARCHED = ['user', 'user_arn', 'account_id', 'account_name', 'access_key_id', 'owner', 'description', 'reason',
    'key_status', 'control', 'frameworks', 'exemption', 'credential_id', 'service'];

  const haystack = (record) => {
    if (record.searchText === undefined) {
      const said = [titleOf(record), packed.outcomes[record.outcome], packed.severities[record.severity]];
      record.searchText = SEARCHED.map((name) => record[name] || '').concat(said).join('\n').toLowerCase();
    }
    return record.searchText;
  };

  // ------------------------------------------------------------ sorting

  const ranks = new Map();

  // Comparing words by the rules of a language is slow, so each different text is ranked once.
  const textRanks = (records, name, textOf) => {
    if (!ranks.has(name)) {
      const collator = new Intl.Collator('en', { numeric: true });
      const texts = [...new Set(records.map(textOf))].filter(Boolean).sort(collator.compare);
      ranks.set(name, new Map(texts.map((text, at) => [text, at])));
    }
    return ranks.get(name);
  };

  const byText = (textOf) => (records, name) => {
    const order = textRanks(records, name, textOf);
    return (record) => order.get(textOf(record)) ?? null;
  };

  const byNumber = (numberOf) => () => numberOf;
  const whenUsed = (record) => {
    if (record.last_used_state === 'never') return -1;
    return isUsed(record) ? moment(record.last_used_at) : null;
  };

  const ORDERS = {
    severity: byNumber((record) => severities.indexOf(record.severity)),
    outcome: byNumber((record) => outcomes.indexOf(record.outcome)),
    age: byNumber((record) => record.age_days),
    due: byNumber((record) => moment(record.due_at)),
    last_used: byNumber(whenUsed),
    control: byText(titleOf),
    account: byText(accountOf),
    user: byText((record) => record.user),
    key: byText(keyOf),
  };

  // What has no value stands last, whichever way the rest is sorted.
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (a - b);
  };

  const sorted = (table) => {
    const column = table.sort.replace('-', '');
    if (!ORDERS[column]) return table.records;
    const rankOf = ORDERS[column](table.records, `${table.id} ${column}`);
    const sign = table.sort.startsWith('-') ? -1 : 1;
    return table.records
      .map((record) => [rankOf(record), record])
      .sort((a, b) => compare(a[0], b[0], sign))
      .map((pair) => pair[1]);
  };

  // All records of a table in its order; each order is worked out once, and filtering keeps it.
  const inOrder = (table) => {
    if (!table.orders.has(table.sort)) table.orders.set(table.sort, sorted(table));
    return table.orders.get(table.sort);
  };

  // ------------------------------------------------------------ paged tables

  const fill = (row, cells) => {
    for (const node of row.querySelectorAll('[data-f]')) node.textContent = cells[node.dataset.f];
    for (const mark of row.querySelectorAll('[data-mark-of]')) mark.dataset.mark = cells[mark.dataset.markOf];
    return row;
  };

  const rowFor = (table, record) => {
    const row = fill(table.template.cloneNode(true), cellsOf(record));
    const opener = row.querySelector('.open');
    opener.addEventListener('click', () => toggleDetails(row, opener, record));
    return row;
  };

  const detailsTemplate = byId('details-row').content.querySelector('tr');

  const detailsRow = (record, columns) => {
    const row = detailsTemplate.cloneNode(true);
    row.firstElementChild.colSpan = columns;
    const details = detailsOf(record);
    for (const node of row.querySelectorAll('[data-d]')) {
      const text = details[node.dataset.d];
      node.textContent = text || '';
      if (!text) {
        node.previousElementSibling.remove();
        node.remove();
      }
    }
    return row;
  };

  const toggleDetails = (row, opener, record) => {
    const isOpen = opener.getAttribute('aria-expanded') === 'true';
    opener.setAttribute('aria-expanded', String(!isOpen));
    if (isOpen) row.nextElementSibling.remove();
    else row.after(detailsRow(record, row.children.length));
  };

  const pagesOf = (table) => Math.max(1, Math.ceil(table.shown.length / PAGE));

  const drawRows = (table, all = false) => {
    table.page = Math.min(Math.max(1, table.page), pagesOf(table));
    const first = (table.page - 1) * PAGE;
    const records = all ? table.shown : table.shown.slice(first, first + PAGE);
    const rows = new DocumentFragment();
    for (const record of records) rows.append(rowFor(table, record));
    table.body.replaceChildren(rows);
  };

  const drawPager = (table) => {
    const pages = pagesOf(table);
    const first = (table.page - 1) * PAGE;
    const last = Math.min(first + PAGE, table.shown.length);
    table.pager.hidden = pages === 1;
    table.pager.querySelector('.pages').textContent =
      `Rows ${first + 1} to ${last} of ${table.shown.length}, page ${table.page} of ${pages}`;
    for (const button of table.pager.querySelectorAll('[data-page]')) {
      const isBack = button.dataset.page === 'first' || button.dataset.page === 'previous';
      button.disabled = isBack ? table.page === 1 : table.page === pages;
    }
  };

  const drawHeads = (table) => {
    for (const head of table.root.querySelectorAll('th[data-column]')) {
      const isSorted = table.sort.replace('-', '') === head.dataset.column;
      if (!isSorted) head.removeAttribute('aria-sort');
      else head.setAttribute('aria-sort', table.sort.startsWith('-') ? 'descending' : 'ascending');
    }
  };

  const show = (table, records) => {
    table.shown = records;
    table.root.hidden = table.shown.length === 0;
    table.root.parentElement.querySelector('.no-match').hidden = table.shown.length > 0;
    drawRows(table);
    drawPager(table);
    drawHeads(table);
  };

  const turnPage = (table, where) => {
    const targets = { first: 1, previous: table.page - 1, next: table.page + 1, last: pagesOf(table) };
    table.page = targets[where];
    table.onChange();
    table.root.scrollIntoView({ block: 'start' });
  };

  const sortBy = (table, column) => {
    table.sort = table.sort === column ? `-${column}` : column;
    table.page = 1;
    table.onChange();
  };

  const makeSortable = (table, head) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'sort';
    button.append(...head.childNodes);
    button.addEventListener('click', () => sortBy(table, head.dataset.column));
    head.append(button);
  };

  const makeTable = (id, rows, onChange) => {
    const root = byId(`${id}-table`);
    if (!root) return null;
    const table = {
      id, root, onChange, page: 1, sort: root.dataset.sort,
      records: rows.map(unpack), shown: [], orders: new Map(),
      body: root.querySelector('tbody'),
      template: root.querySelector('template').content.querySelector('tr'),
      pager: root.querySelector('.pager'),
    };
    for (const head of root.querySelectorAll('th[data-column]')) makeSortable(table, head);
    for (const button of table.pager.querySelectorAll('[data-page]')) {
      button.addEventListener('click', () => turnPage(table, button.dataset.page));
    }
    return table;
  };

  // ------------------------------------------------------------ filters

  const emptyState = () => ({ q: '', outcome: [], severity: [], control: [], account: [], owner: [], by_policy: [] });
  const ownerOf = (record) =>
    record.owner || (record.owner_source === NOT_LOOKED_UP ? NOT_LOOKED_UP : NO_OWNER);
  const valueOf = (record, facet) => (facet === 'owner' ? ownerOf(record) : record[facet]);
  let state = emptyState();

  const matchesWords = (record, words) => words.every((word) => haystack(record).includes(word));

  // The facets that keep a record out; a record kept out by one facet alone still counts for that facet's choices.
  const refusals = (record) =>
    FACETS.filter((facet) => state[facet].length > 0 && !state[facet].includes(valueOf(record, facet)));

  const count = (counts, record, facet) => {
    const key = `${facet}=${valueOf(record, facet)}`;
    counts.set(key, (counts.get(key) || 0) + 1);
  };

  const select = (records) => {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const counts = new Map();
    const chosen = records.filter((record) => {
      if (!matchesWords(record, words)) return false;
      const refused = refusals(record);
      if (refused.length > 1) return false;
      for (const facet of refused.length ? refused : FACETS) count(counts, record, facet);
      return refused.length === 0;
    });
    return { chosen, counts };
  };

  const isFiltered = () => state.q.trim() !== '' || FACETS.some((facet) => state[facet].length > 0);

  const nameOf = (facet, value) => {
    if (facet === 'outcome') return packed.outcomes[value];
    if (facet === 'severity') return packed.severities[value];
    if (facet === 'control') return packed.controls[value].title;
    if (facet === 'by_policy') return value === 'true' ? 'the policy' : 'frameworks alone';
    return (facet === 'account' && accountNames.get(value)) || value;
  };

  const filterInWords = () => {
    const said = FACETS.filter((facet) => state[facet].length > 0)
      .map((facet) => `${facet === 'by_policy' ? 'judged by' : facet} ${state[facet].map((value) => nameOf(facet, value)).join(' or ')}`);
    if (state.q.trim()) said.unshift(`containing “${state.q.trim()}”`);
    return said.length ? `Only: ${said.join('; ')}.` : '';
  };

  // ------------------------------------------------------------ drawing

  const findings = makeTable('findings', packed.findings, () => drawFindings());
  const due = makeTable('due', packed.due, () => drawDue());
  const accountNames = new Map();
  const findingsStatus = document.querySelector('#findings .count');
  const dueStatus = document.querySelector('#due .count');
  const dueWords = dueStatus.textContent;

  const noun = (number) => (number === 1 ? 'finding' : 'findings');

  const drawChips = (counts) => {
    for (const chip of document.querySelectorAll('.chip')) {
      const { facet, value } = chip.dataset;
      const number = counts.get(`${facet}=${value}`) || 0;
      chip.setAttribute('aria-pressed', String(state[facet].includes(value)));
      chip.classList.toggle('zero', number === 0);
      chip.querySelector('.chip-count').textContent = String(number);
    }
    for (const option of byId('account').options) {
      if (!option.value) continue;
      option.textContent = `${accountNames.get(option.value)}: ${counts.get(`account=${option.value}`) || 0}`;
    }
    byId('account').value = state.account[0] || '';
  };

  const drawFindings = () => {
    const { chosen, counts } = select(inOrder(findings));
    show(findings, chosen);
    drawChips(counts);
    const total = findings.records.length;
    const all = `${total} ${noun(total)}`;
    findingsStatus.textContent = isFiltered() ? `${chosen.length} of ${all}` : all;
    const words = document.querySelector('.filter-words');
    words.textContent = filterInWords();
    words.hidden = !words.textContent;
    byId('clear').disabled = !isFiltered();
    byId('export').disabled = chosen.length === 0;
    writeHash();
  };

  const drawDue = () => {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = inOrder(due).filter((record) => matchesWords(record, words));
    show(due, chosen);
    dueStatus.textContent = words.length ? `${chosen.length} of ${dueWords}` : dueWords;
  };

  const draw = () => {
    if (findings) drawFindings();
    if (due) drawDue();
  };

  const change = (changes) => {
    Object.assign(state, changes);
    if (findings) findings.page = 1;
    if (due) due.page = 1;
    draw();
  };

  const clear = () => {
    byId('search').value = '';
    change(emptyState());
    byId('findings').focus({ preventScroll: true });
  };

  const toggle = (facet, value) => {
    const chosen = state[facet];
    change({ [facet]: chosen.includes(value) ? chosen.filter((other) => other !== value) : [...chosen, value] });
  };

  // ------------------------------------------------------------ the address

  const HASH = '#findings?';

  const hashOfState = () => {
    const parts = new URLSearchParams();
    if (state.q.trim()) parts.set('q', state.q.trim());
    for (const facet of FACETS) if (state[facet].length) parts.set(facet, state[facet].join(','));
    if (findings.sort) parts.set('sort', findings.sort);
    if (findings.page > 1) parts.set('page', String(findings.page));
    const text = String(parts).replaceAll('%2C', ',');
    return text ? HASH + text : '';
  };

  const writeHash = () => {
    const hash = hashOfState();
    const isOurs = location.hash.startsWith(HASH);
    if (hash === location.hash || (!hash && !isOurs)) return;
    try {
      history.replaceState(null, '', hash || '#findings');
    } catch {
      // Some browsers refuse this for files; the page works without.
    }
  };

  const isKnown = (facet, value) => {
    if (facet === 'account') return accountNames.has(value);
    if (facet === 'owner') return packed.findings.some((record) => valueOf(record, facet) === value);
    const chips = [...document.querySelectorAll('.chip')];
    return chips.some((chip) => chip.dataset.facet === facet && chip.dataset.value === value);
  };

  const readHash = () => {
    if (!findings || !location.hash.startsWith(HASH)) return false;
    const parts = new URLSearchParams(location.hash.slice(HASH.length));
    state = emptyState();
    state.q = parts.get('q') || '';
    for (const facet of FACETS) {
      const given = parts.get(facet) || '';
      const values = facet === 'owner' ? [given] : given.split(',');
      state[facet] = values.filter((value) => value && isKnown(facet, value));
    }
    findings.sort = parts.get('sort') || '';
    findings.page = Number.parseInt(parts.get('page') || '1', 10) || 1;
    byId('search').value = state.q;
    return true;
  };

  const followHash = () => {
    if (location.hash === '' && isFiltered()) clear();
    if (!readHash()) return;
    draw();
    byId('findings').scrollIntoView({ block: 'start' });
  };

  // ------------------------------------------------------------ taking it away

  // The same cells as findings.csv: a spreadsheet runs what begins like a formula, and some split at each semicolon.
  const INVISIBLE = /[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]/gu;
  const visible = (text) => text.replace(INVISIBLE, (sign) => `\\u{${sign.codePointAt(0).toString(16).toUpperCase()}}`);
  const first = (text) => text && String.fromCodePoint(text.codePointAt(0)).normalize('NFKC');
  const neutral = (text) => (text && '=+-@\u2212'.includes(first(text)) ? `'${text}` : text);
  const safe = (text) => visible(text).split(';').map(neutral).join(';');
  const quoted = (text) => (/[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

  const csvRow = (record) => {
    const values = { ...record, ...packed.run };
    return packed.csv.map((name) => quoted(safe(String(values[name] ?? '')))).join(',');
  };

  const csvOf = (records) => `${[packed.csv.join(','), ...records.map(csvRow)].join('\r\n')}\r\n`;

  const exportRows = () => {
    const url = URL.createObjectURL(new Blob([csvOf(findings.shown)], { type: 'text/csv;charset=utf-8' }));
    const anchor = document.createElement('a');
    anchor.href = url;
    anchor.download = `findings-${packed.run.run_id}.csv`;
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  };

  let openedForPrint = [];

  const beforePrint = () => {
    for (const table of [findings, due]) if (table && table.pager.hidden === false) drawRows(table, true);
    openedForPrint = [...document.querySelectorAll('details[data-print]:not([open])')];
    for (const details of openedForPrint) details.open = true;
  };

  const afterPrint = () => {
    for (const table of [findings, due]) if (table && table.pager.hidden === false) drawRows(table);
    for (const details of openedForPrint) details.open = false;
  };

  // ------------------------------------------------------------ putting it together

  const debounced = (act, milliseconds) => {
    let timer = 0;
    return () => {
      clearTimeout(timer);
      timer = setTimeout(act, milliseconds);
    };
  };

  const isTyping = (target) => target.closest('input, select, textarea, [contenteditable]') !== null;

  const onKey = (event) => {
    if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    event.preventDefault();
    byId('search').focus();
    byId('search').select();
  };

  const search = () => {
    change({ q: byId('search').value });
    const top = byId('findings').getBoundingClientRect().top;
    if (state.q && (top > innerHeight * 0.6 || top < 0)) byId('findings').scrollIntoView({ block: 'start' });
  };

  const offerAccounts = () => {
    for (const record of findings.records) accountNames.set(record.account_id, accountOf(record));
    const collator = new Intl.Collator('en', { numeric: true });
    const ids = [...accountNames.keys()].sort((a, b) => collator.compare(accountNames.get(a), accountNames.get(b)));
    for (const id of ids) byId('account').append(new Option(accountNames.get(id), id));
    byId('account').addEventListener('change', (event) => {
      change({ account: event.target.value ? [event.target.value] : [] });
    });
  };

  const wireFilters = () => {
    offerAccounts();
    for (const chip of document.querySelectorAll('.chip')) {
      chip.addEventListener('click', () => toggle(chip.dataset.facet, chip.dataset.value));
    }
    byId('clear').addEventListener('click', clear);
    document.querySelector('[data-clear]').addEventListener('click', clear);
    byId('export').addEventListener('click', exportRows);
    byId('print').addEventListener('click', () => print());
    document.querySelector('.filters').hidden = false;
  };

  const wireSearch = () => {
    byId('search').addEventListener('input', debounced(search, 60));
    document.addEventListener('keydown', onKey);
    document.querySelector('.search').hidden = false;
  };

  const start = () => {
    document.documentElement.classList.add('scripted');
    for (const anchor of document.querySelectorAll('a[data-where]')) {
      if (findings || !anchor.dataset.where.startsWith('findings')) anchor.hash = anchor.dataset.where;
      anchor.addEventListener('click', () => anchor.hash === location.hash && followHash());
    }
    if (findings) wireFilters();
    if (findings || due) wireSearch();
    addEventListener('hashchange', followHash);
    addEventListener('beforeprint', beforePrint);
    addEventListener('afterprint', afterPrint);
    const isLinked = readHash();
    draw();
    if (isLinked) byId('findings').scrollIntoView({ block: 'start' });
  };

  start();
})();
