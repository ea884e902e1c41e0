// The table: which rows and columns are shown, in which order, and the cells.

const SOURCES = { published: 'published', 'self-reported': 'self-reported', verified: 'verified', 're-run': 're-run by the maintainers' }
const CHECKED = { verified: '✓ verified', 're-run': '↻ re-run' }

// Benchmarks that are shown: chosen, and with a number in one of the rows that are.
const shownColumns = found => tasks.filter(task => !state.hidden.includes(task) && found.some(place => has(record.rows[place].cells, task)))
const searched = places.map(place => [record.rows[place].label, record.rows[place].model, record.rows[place].revision ?? ''].join('\n').toLowerCase())

// Places of rows in the order in which they are shown.
const shownRows = () => {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean)
  const found = places.filter(place =>
    words.every(word => searched[place].includes(word)) && (!state.source || rows[place].kinds.includes(state.source)))
  if (!state.sort) return found
  const sign = state.up ? 1 : -1
  if (state.sort === 'model') {
    const collator = new Intl.Collator('en', { numeric: true, sensitivity: 'base' })
    return found.sort((one, other) => sign * collator.compare(record.rows[one].label, record.rows[other].label) || one - other)
  }
  const value = place => cellOf(place, state.sort)?.value ?? null
  // Rows without a number come last, whichever way.
  return found.sort((one, other) => {
    const [first, second] = [value(one), value(other)]
    if (first === null || second === null) return (first === null) - (second === null) || one - other
    return sign * (first - second) || one - other
  })
}

const trainedTags = place => {
  const cells = Object.values(record.rows[place].cells)
  const said = cells.map(cell => cell.trained).filter(Boolean)
  const found = []
  if (said.some(each => each.videocon === true)) found.push('trained on VideoCon')
  if (said.some(each => each.videocon === false)) found.push('not trained on VideoCon')
  if (said.some(each => each.zero_shot === false)) found.push('not zero-shot')
  else if (said.length && said.every(each => each.zero_shot === true)) found.push('zero-shot')
  return found
}

const drawnRows = new Map() // place -> element, made once
const rowOf = place => {
  if (drawnRows.has(place)) return drawnRows.get(place)
  const { kinds, cells } = rows[place]
  const head = make('th', undefined, { scope: 'row' })
  const open = make('button', label(place), { type: 'button', class: 'name', title: 'Show this model alone' })
  open.addEventListener('click', () => change({ view: 'model', model: record.rows[place].label }))
  const tags = make('span', undefined, { class: 'tags' })
  for (const text of [...kinds.map(kind => CHECKED[kind] ?? kind), ...trainedTags(place)]) add(tags, make('span', text, { class: 'tag' }))
  add(head, open, tags)
  const row = add(make('tr', undefined, { 'data-place': place }), head)
  for (const task of tasks) {
    const found = has(cells, task) ? cells[task] : null
    const cell = make('td', undefined, { 'data-task': task })
    if (found) {
      add(cell, make(found.bold ? 'b' : 'span', found.value, { class: 'value' }))
      for (const fact of Object.keys(FACTS)) {
        if (has(found, fact)) for (const line of found[fact].split('\n')) add(cell, make('span', line, { class: `fact ${fact}` }))
      }
      if (kinds.length > 1) add(cell, make('span', CHECKED[cellOf(place, task).provenance.kind] ?? cellOf(place, task).provenance.kind, { class: 'fact' }))
    } else add(cell, make('span', 'no number', { class: 'unseen' }))
    add(row, cell)
  }
  drawnRows.set(place, row)
  return row
}

const headerOf = (sort, first, second) => {
  const head = make('th', undefined, { scope: 'col', 'data-sort': sort })
  if (sort !== 'model') head.setAttribute('data-task', sort)
  const button = add(make('button', undefined, { type: 'button', class: 'sort' }), make('span', first), second && make('small', second), make('span', undefined, { class: 'arrow', 'aria-hidden': 'true' }))
  button.addEventListener('click', () => sortBy(sort))
  return add(head, button)
}

// The best numbers first, then the worst, then the order of the table; names the other way round.
const sortBy = sort => {
  const up = sort === 'model'
  if (state.sort !== sort) change({ sort, up })
  else if (state.up === up) change({ sort, up: !up })
  else change({ sort: '', up: false })
}

const makeTable = () => {
  const head = make('tr')
  add(head, headerOf('model', 'Model'))
  columns.forEach((column, at) => add(head, headerOf(column.task, column.title, data.metrics[at])))
  add(byId('board').tHead, head)
}

const drawTable = found => {
  const body = byId('board').tBodies[0]
  body.replaceChildren(...found.map(rowOf))
  for (const head of byId('board').tHead.rows[0].cells) {
    const sorted = head.dataset.sort === state.sort
    if (sorted) head.setAttribute('aria-sort', state.up ? 'ascending' : 'descending')
    else head.removeAttribute('aria-sort')
    head.querySelector('.arrow').textContent = sorted ? (state.up ? ' ↑' : ' ↓') : ''
  }
  const board = byId('board')
  for (const fact of Object.keys(FACTS)) board.classList.toggle(`no-${fact}`, state.off.includes(fact))
  // Hidden columns by attribute, cell by cell: rows are made once.
  const shown = new Set(shownColumns(found))
  for (const cell of board.querySelectorAll('[data-task]')) cell.hidden = !shown.has(cell.dataset.task)
  byId('nothing').hidden = found.length > 0
}
