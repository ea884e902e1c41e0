// Controls, and drawing what the state says.

const option = (value, text) => make('option', text, { value })
const check = (parent, name, text, key) => {
  const box = make('input', undefined, { type: 'checkbox', value: name, 'data-of': key })
  box.addEventListener('change', () => {
    const left = state[key].filter(each => each !== name)
    change({ [key]: box.checked ? left : [...left, name] })
  })
  add(parent, add(make('label'), box, make('span', text)))
}

const makeControls = () => {
  const known = new Set(rows.flatMap(row => row.kinds))
  add(byId('source'), option('', 'all'), ...Object.entries(SOURCES).filter(([kind]) => known.has(kind)).map(([kind, text]) => option(kind, text)))
  add(byId('sort'), option('', 'order of the table'), option('model', 'model'), ...columns.map(column => option(column.task, column.title)))
  add(byId('task'), ...columns.map(column => option(column.task, `${column.title}, ${metricOf.get(column.task)}`)))
  for (const name of ['which', 'a', 'b']) add(byId(name), ...places.map(place => option(record.rows[place].label, label(place))))
  columns.forEach(column => check(byId('columns'), column.task, column.title, 'hidden'))
  for (const [fact, text] of Object.entries(FACTS)) if (rows.some(row => Object.values(row.cells).some(cell => has(cell, fact)))) check(byId('facts'), fact, text, 'off')

  const chosen = (element, key) => byId(element).addEventListener('change', event => change({ [key]: event.target.value }))
  for (const [element, key] of [['source', 'source'], ['task', 'task'], ['which', 'model'], ['a', 'a'], ['b', 'b']]) chosen(element, key)
  byId('sort').addEventListener('change', event => change({ sort: event.target.value, up: event.target.value === 'model' }))
  byId('direction').addEventListener('click', () => change({ up: !state.up }))
  byId('q').addEventListener('input', event => change({ q: event.target.value }, { step: false }))
  byId('swap').addEventListener('click', () => change({ a: state.b, b: state.a }))
  byId('reset').addEventListener('click', () => change({ ...structuredClone(START), view: state.view }))
  byId('again').addEventListener('click', () => { change({ q: '', source: '' }); byId('q').focus() })
  // Not by its address, which the state has.
  byId('skip').addEventListener('click', event => { event.preventDefault(); byId('main').focus() })
  for (const button of document.querySelectorAll('[data-view]')) button.addEventListener('click', () => change({ view: button.dataset.view }))
  for (const button of document.querySelectorAll('[data-download]')) button.addEventListener('click', () => download(button.dataset.download))
}

const draw = () => {
  for (const view of VIEWS) byId(view).hidden = view !== state.view
  for (const button of document.querySelectorAll('[data-view]')) {
    if (button.dataset.view === state.view) button.setAttribute('aria-current', 'page')
    else button.removeAttribute('aria-current')
  }
  const lists = ['table', 'forest'].includes(state.view)
  byId('tools').hidden = !lists
  byId('tools').classList.toggle('forest', state.view === 'forest')
  for (const [element, value] of [['q', state.q], ['source', state.source], ['sort', state.sort], ['task', state.task], ['which', state.model], ['a', state.a], ['b', state.b]]) {
    if (byId(element).value !== value) byId(element).value = value
  }
  byId('direction').textContent = state.up ? '↑ ascending' : '↓ descending'
  byId('direction').disabled = !state.sort
  for (const box of document.querySelectorAll('[data-of]')) box.checked = !state[box.dataset.of].includes(box.value)
  if (lists) {
    const found = shownRows()
    const [models, benchmarks] = [rows.length, shownColumns(found).length]
    byId('count').textContent = `${found.length.toLocaleString('en')} of ${models.toLocaleString('en')} models` +
      (state.view === 'table' && benchmarks < columns.length ? `, ${benchmarks} of ${columns.length} benchmarks` : '')
    if (state.view === 'table') drawTable(found)
    else drawForest(found)
  }
  if (state.view === 'model') drawModel()
  if (state.view === 'compare') drawCompare()
  if (state.view === 'about') drawAbout()
  document.documentElement.dataset.drawn = String(Number(document.documentElement.dataset.drawn ?? 0) + 1)
}

const readAddress = () => { state = fromHash(location.hash); draw() }

const begin = () => {
  const mine = places.filter(ours).length
  byId('summary').textContent = rows.length
    ? `${mine.toLocaleString('en')} ${mine === 1 ? 'row' : 'rows'} of results, ${(rows.length - mine).toLocaleString('en')} published; ${columns.length} benchmarks. Percent, with 95% intervals.`
    : 'No results yet.'
  byId('made').textContent = `Made ${data.made} by synvita-data ${data.version}. The page holds all its data and asks for nothing.`
  for (const [mark, meaning] of data.legend) add(byId('short-legend'), add(make('li'), make('b', mark), make('span', ` ${meaning}`)))
  if (record.problems.length) {
    const notice = make('p', `${record.problems.length === 1 ? 'One result file' : `${record.problems.length} result files`} could not be used: `, { class: 'notice' })
    const more = make('button', 'which, and why', { type: 'button' })
    more.addEventListener('click', () => change({ view: 'about' }))
    byId('main').prepend(add(notice, more))
  }
  makeControls()
  makeTable()
  if (inside && window.parent.location.hash) history.replaceState(null, '', window.parent.location.hash)
  window.addEventListener('hashchange', readAddress)
  window.addEventListener('popstate', readAddress)
  let width = 0
  new ResizeObserver(() => {
    const now = byId('main').clientWidth
    if (now !== width && width && state.view !== 'table') draw()
    width = now
  }).observe(byId('main'))
  readAddress()
}
begin()
