// What the page shows, as one object that the address holds: everybody who opens the address sees the same.

const data = JSON.parse(document.getElementById('data').textContent)
const { record, rows, pairs } = data
const columns = record.columns
const VIEWS = ['table', 'forest', 'model', 'compare', 'about']
const FACTS = { interval: 'interval', coverage: 'coverage', ties: 'bounds of ties', p: 'p against the top', gaps: 'gaps to controls' }

const byId = name => document.getElementById(name)

// An element with text and attributes. Text of others goes through here and is text.
const make = (tag, text, attributes = {}) => {
  const element = document.createElement(tag)
  if (text !== undefined && text !== null) element.textContent = text
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  return element
}
const add = (parent, ...children) => { parent.append(...children.filter(child => child)); return parent }

const label = place => record.rows[place].label + rows[place].marks
const places = record.rows.map((_, place) => place)
const placeOf = new Map(places.map(place => [record.rows[place].label, place]))
const tasks = columns.map(column => column.task)
const metricOf = new Map(tasks.map((task, at) => [task, data.metrics[at]]))
const columnOf = new Map(columns.map(column => [column.task, column]))
const cellOf = (place, task) => record.rows[place].cells[task]
const own = Object.prototype.hasOwnProperty
const has = (object, key) => own.call(object, key)

const firstOf = wanted => places.find(wanted)
const ours = place => record.rows[place].kind === 'ours'
const nothing = () => ({
  view: 'table', q: '', source: '', sort: '', up: false, hidden: [], off: [], task: busiest(),
  model: record.rows[firstOf(ours) ?? 0]?.label ?? '', ...firstPair(),
})

// The benchmark with most numbers of ours, and two models that were compared.
function busiest () {
  const counts = tasks.map(task => places.filter(place => ours(place) && has(record.rows[place].cells, task)).length)
  return tasks[counts.indexOf(Math.max(...counts))] ?? ''
}
function firstPair () {
  const found = Object.values(pairs).map(each => each.found[0]).find(Boolean)
  const [a, b] = found ?? [0, Math.min(1, places.length - 1)]
  return { a: record.rows[a]?.label ?? '', b: record.rows[b]?.label ?? '' }
}

const START = nothing()
let state = structuredClone(START)

// The address: only what differs from the beginning.
const toHash = () => {
  const found = new URLSearchParams()
  for (const [name, value] of Object.entries(state)) {
    const text = Array.isArray(value) ? value.join(',') : String(value)
    if (text !== (Array.isArray(START[name]) ? START[name].join(',') : String(START[name]))) found.set(name, text)
  }
  return found.toString()
}
const fromHash = hash => {
  const given = new URLSearchParams(hash.replace(/^#/, ''))
  const found = structuredClone(START)
  for (const [name, value] of given) {
    if (!has(START, name)) continue
    if (Array.isArray(START[name])) found[name] = value.split(',').filter(Boolean)
    else if (typeof START[name] === 'boolean') found[name] = value === 'true'
    else found[name] = value
  }
  // What nothing here has is left out, so that an old address shows something.
  if (!VIEWS.includes(found.view)) found.view = START.view
  if (!['', 'model', ...tasks].includes(found.sort)) found.sort = ''
  if (!tasks.includes(found.task)) found.task = START.task
  found.hidden = found.hidden.filter(task => tasks.includes(task))
  found.off = found.off.filter(fact => has(FACTS, fact))
  for (const name of ['model', 'a', 'b']) if (!placeOf.has(found[name])) found[name] = START[name]
  return found
}

// Change what is shown. Choices are steps of the browser's history; letters of a search are not.
const change = (changed, { step = true } = {}) => {
  Object.assign(state, changed)
  const hash = toHash()
  const there = `${location.pathname}${location.search}${hash ? `#${hash}` : ''}`
  try {
    if (step) history.pushState(null, '', there)
    else history.replaceState(null, '', there)
  } catch { /* a page inside another without an address of its own */ }
  tellParent(hash)
  draw()
}

// Inside our own app the address that people copy is the app's.
const inside = (() => { try { return window.parent !== window && window.parent.location.origin === location.origin } catch { return false } })()
const tellParent = hash => {
  if (!inside) return
  window.parent.history.replaceState(null, '', `${window.parent.location.pathname}${window.parent.location.search}${hash ? `#${hash}` : ''}`)
}
