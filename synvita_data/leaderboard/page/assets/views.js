// One model with its metrics and breakdowns; two models pair by pair; legend and notes.

const number = (value, digits = 2) => value === null || value === undefined ? '–' : Number(value).toFixed(digits)
const signed = value => value === null || value === undefined ? '–' : `${value > 0 ? '+' : value < 0 ? '−' : ''}${Math.abs(value).toFixed(2)}`
const range = (low, high, as = each => each.toFixed(1)) => low === null || low === undefined ? '' : `[${as(low)}, ${as(high)}]`
const pText = p => p === null || p === undefined ? '–' : p < 0.1 ? String(Number(p.toPrecision(2))) : p.toFixed(2)

const tableOf = (caption, heads, lines) => {
  const table = make('table', undefined, { class: 'small' })
  add(table, make('caption', caption))
  const top = table.createTHead().insertRow()
  for (const head of heads) add(top, make('th', head, { scope: 'col' }))
  const body = table.createTBody()
  for (const [first, ...rest] of lines) {
    const row = body.insertRow()
    add(row, make('th', first, { scope: 'row' }), ...rest.map(text => make('td', text)))
  }
  return add(make('div', undefined, { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption }), table)
}
const listOf = entries => {
  const list = make('dl')
  for (const [name, text] of entries) if (text) add(list, make('dt', name), make('dd', text))
  return list
}

const isEstimate = value => value !== null && typeof value === 'object' && 'value' in value && 'k' in value && 'n' in value
const estimateLine = (name, each) => [name, number(each.value), range(each.low, each.high), each.k === each.n ? `n ${each.n.toLocaleString('en')}` : `${each.k.toLocaleString('en')}/${each.n.toLocaleString('en')}`]
const HEADS = ['', 'value', '95% interval', 'scored']

// Breakdowns: column -> value -> estimate, or -> several estimates by name.
const breakdownsOf = metrics => Object.entries(metrics.groups ?? {}).filter(([, values]) => values && typeof values === 'object' && !Array.isArray(values))

const partOf = (value, main) => isEstimate(value) ? value : value && isEstimate(value[main]) ? value[main] : null

const drawModel = () => {
  const place = placeOf.get(state.model)
  const body = byId('model-body')
  if (place === undefined) return body.replaceChildren()
  const row = record.rows[place]
  const found = [listOf([
    ['Model', row.model], ['Revision', row.revision], ['Rows', row.kind === 'published' ? `published (${record.published_source})` : row.score_files ? 'scores from files' : 'scored by this package'],
    ['Training', trainedTags(place).join(', ')],
  ])]
  for (const task of tasks.filter(each => has(row.cells, each))) {
    const cell = row.cells[task]
    const card = add(make('article'), make('h3', `${columnOf.get(task).title}, ${metricOf.get(task)}: ${rows[place].cells[task].value}`))
    const { details, provenance } = cell
    const settings = Object.entries(details.model?.settings ?? {}).map(([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`).join('; ')
    add(card, listOf([
      ['Source', [SOURCES[provenance.kind] ?? provenance.kind, provenance.checked && `on ${provenance.checked.replace('T', ' ').replace('+00:00', ' UTC')}`, provenance.version && `with synvita-data ${provenance.version}`,
        provenance.difference !== undefined && `run again: ${signed(provenance.difference)} points`, provenance.doubt].filter(Boolean).join(', ')],
      ['Not official', cell.official ? '' : cell.why_not_official.join('; ')], ['Annotations', cell.annotations], ['Prompt', details.model?.prompt], ['Settings', settings],
      ['Frames', details.frames ? JSON.stringify(details.frames) : ''],
      ['Trained', cell.trained ? [cell.trained.base && `from ${cell.trained.base}`, cell.trained.data && `on ${cell.trained.data}`].filter(Boolean).join(' ') : ''],
      ['Controls', Object.entries(cell.controls ?? {}).map(([name, gap]) => `${name} ${number(gap.value)} ${range(gap.low, gap.high)}, gap ${signed(gap.gap)}`).join('; ')],
      ['Against the top', cell.paired ? `${signed(cell.paired.difference)} ${range(cell.paired.low, cell.paired.high, signed)} to ${cell.paired.top}, p ${pText(cell.paired.p)}` : ''],
    ]))
    const metrics = details.metrics ?? {}
    const estimates = Object.entries(metrics).filter(([, value]) => isEstimate(value))
    if (estimates.length) add(card, tableOf('Metrics, in percent', HEADS, estimates.map(([name, each]) => estimateLine(name, each))))
    for (const [name, values] of breakdownsOf(metrics)) {
      const parts = Object.entries(values).map(([value, each]) => [value, partOf(each, columnOf.get(task).metric)]).filter(([, each]) => each)
      if (!parts.length) continue
      const lines = parts.filter(([, each]) => each.value !== null).map(([value, each]) => ({ name: value, value: each.value, low: each.low, high: each.high, words: `${number(each.value)} ${range(each.low, each.high)}` }))
      if (lines.length > 1) add(card, add(make('div', undefined, { class: 'plot' }), forest(lines.slice(0, MOST_LINES), { title: `${metricOf.get(task)} by ${name}`, from: 0, to: 100 })))
      add(card, tableOf(`${metricOf.get(task)} by ${name}, in percent`, HEADS, parts.map(([value, each]) => estimateLine(value, each))))
    }
    found.push(card)
  }
  body.replaceChildren(...found)
}

// A pair as the page has it, turned so that A is first.
const pairOf = (task, a, b) => {
  const each = pairs[task]?.found.find(([one, other]) => (one === a && other === b) || (one === b && other === a))
  if (!each) return null
  const [one, , difference, low, high, p, holm, won, tied, lost] = each
  const minus = value => value === null ? null : 0 - value
  return one === a ? { difference, low, high, p, holm, won, tied, lost } : { difference: minus(difference), low: minus(high), high: minus(low), p, holm, won: lost, tied, lost: won }
}
const whyNot = (task, a, b) => {
  if (a === b) return 'the same model twice'
  const without = pairs[task]?.without ?? {}
  for (const place of [a, b]) if (has(without, String(place))) return `${label(place)}: ${without[place]}`
  for (const place of [a, b]) if (!ours(place)) return `${label(place)} has no score table`
  return 'not compared on this page; synvita compare does it'
}

const drawCompare = () => {
  const [a, b] = [placeOf.get(state.a), placeOf.get(state.b)]
  const [plot, body] = [byId('compare-plot'), byId('compare-body')]
  if (a === undefined || b === undefined) return body.replaceChildren()
  const both = tasks.filter(task => has(record.rows[a].cells, task) && has(record.rows[b].cells, task))
  const lines = []
  const table = both.map(task => {
    const pair = pairOf(task, a, b)
    const [one, other] = [a, b].map(place => `${rows[place].cells[task].value} ${rows[place].cells[task].interval ?? ''}`.trim())
    const name = `${columnOf.get(task).title}, ${metricOf.get(task)}`
    if (!pair) return [name, one, other, `not pair by pair: ${whyNot(task, a, b)}`, '', '', '']
    const words = `${signed(pair.difference)} ${range(pair.low, pair.high, signed)}`
    lines.push({ name, value: pair.difference, low: pair.low, high: pair.high, words: `${signed(pair.difference)}  p ${pText(pair.p)}`, bold: pair.low !== null && (pair.low > 0 || pair.high < 0) })
    return [name, one, other, words, pText(pair.p), pText(pair.holm), `${pair.won} / ${pair.tied} / ${pair.lost} ${pairs[task].item}s`]
  })
  plot.replaceChildren(...(lines.length ? [forest(lines, { title: `${label(a)} minus ${label(b)}, percentage points`, marks: [0], unit: 'points', signed: true })] : []))
  body.replaceChildren(
    both.length ? tableOf(`A: ${label(a)}. B: ${label(b)}`, ['', 'A', 'B', 'A − B, points', 'p', 'p, Holm', 'A wins / ties / loses'], table) : make('p', 'The two have no benchmark in common.', { class: 'none' }),
    make('p', 'Paired bootstrap over the texts that both have scored, 2,000 resamples, computed from the score tables when this page was made. p is two-sided and not corrected for looking at many pairs; Holm corrects it for the benchmarks in this table. In bold: an interval without 0.', { class: 'soft' }),
  )
}

const drawAbout = () => {
  const list = make('dl', undefined, { class: 'marks' })
  for (const [mark, meaning] of data.legend) add(list, make('dt', mark), make('dd', meaning))
  const items = (title, texts) => texts.length ? [make('h3', title), add(make('ul'), ...texts.map(text => make('li', text)))] : []
  byId('about-body').replaceChildren(
    make('p', `All numbers in percent. What cannot be told apart is not ranked: the highest number of a column is on top, and every number that its interval meets shares the place, unless the two were compared pair by pair and differ. There is no overall rank, because the benchmarks measure different things. † is ${record.published_source}.`),
    list,
    ...items(`Result files that were left out (${record.problems.length})`, record.problems),
    ...items('Notes', record.notes),
    ...items('Benchmarks', columns.map(column => `${column.title} (${column.task}): ${metricOf.get(column.task)}${column.compared ? '' : '; not compared, for its results are on different annotations'}`)),
    ...items('Pair by pair', Object.entries(pairs).map(([task, each]) => `${columnOf.get(task).title}: ${each.found.length.toLocaleString('en')} pairs on this page, ${Object.keys(each.without).length.toLocaleString('en')} results in none`)),
  )
}
